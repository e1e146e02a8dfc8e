"""Deploys and maintenance hold alerts: each rule of a hold as a scenario on the replay's clock, and who hears what."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from alertbot.domain.deploys import DeploySettings
from alertbot.domain.policy import Escalation, EscalationStep, Policy
from alertbot.domain.routing import Route
from tests.domain.script import Script, alert, at, policy, receiver, rule

MINUTE = timedelta(minutes=1)
DEPLOY = rule(
    "deploy",
    "alertname=Deployment",
    "alertname=~High.*;alertbot_severity!=critical",
    "environment",
    duration=15 * MINUTE,
)
LONG = rule("deploy", "alertname=Deployment", "alertname=~High.*;alertbot_severity!=critical", "environment")
BY_SERVICE = rule("deploy", "alertname=Deployment", "alertname=~High.*;alertbot_severity!=critical", "service")
WORKS = rule("works", "alertname=DatabaseMaintenance", "alertname=~Slow|Down", duration=120 * MINUTE)
QUICK = Route(
    key="{}",
    receiver="ops",
    group_by=("alertname", "service"),
    group_wait=timedelta(0),
    group_interval=10 * timedelta(seconds=1),
    repeat_interval=timedelta(hours=4),
)


def script(*rules: Any, **changes: Any) -> Script:
    """Alerts by name and service go to Slack and PagerDuty at once, but for what the rules hold."""
    made: Policy = policy(route=QUICK, inhibit_rules=rules or (DEPLOY,), **changes)
    return Script(made)


async def deploy(s: Script, offset: str, status: str = "started", **more: Any) -> None:
    fields = {"service": "api", "environment": "prod", "version": "a1b2c3", "id": "d1", **more}
    await s.act(offset, "deploy", status=status, **fields)


async def works(s: Script, offset: str, action: str = "start", **more: Any) -> None:
    labels = {"alertname": "DatabaseMaintenance"} if action == "start" else {}
    await s.act(offset, "maintenance", action=action, id="m1", labels=labels, by="ana", **more)


def high(name: str, started: str, ended: str | None = None, **labels: str) -> dict[str, Any]:
    return alert(f"High{name}", started, ended, service="api", env="prod", **labels)


async def test_a_clean_deploy_with_noise_pages_nobody_and_says_so_once() -> None:
    s = script()
    await deploy(s, "0:00")
    await s.report("1:00", high("ErrorRate", "1:00"))
    await s.report("1:30", high("Latency", "1:30"))
    assert s.heard("slack", "pagerduty") == []
    await s.report("3:00", high("ErrorRate", "1:00", "3:00"))
    await s.report("3:30", high("Latency", "1:30", "3:30"))
    await deploy(s, "4:00", "succeeded")
    await s.until("8:59")
    assert s.heard("slack", "pagerduty") == []
    await s.until("30:00")
    # `settle` is 5 minutes; both cleared.
    assert s.heard("slack", "pagerduty") == ["9:00 slack verdict deploy_settled 0/2/0"]


async def test_a_deploy_that_breaks_one_of_three_things_opens_that_one_as_it_would_have_been() -> None:
    s = script()
    await deploy(s, "0:00")
    for name in ("ErrorRate", "Latency", "Load"):
        await s.report("1:00", high(name, "1:00"))
    await s.report("3:00", high("ErrorRate", "1:00", "3:00"))
    await s.report("3:00", high("Load", "1:00", "3:00"))
    await deploy(s, "4:00", "succeeded")
    await s.until("30:00")
    assert s.heard("slack", "pagerduty") == [
        "9:00 slack verdict deploy_settled 1/2/0",
        "9:00 pagerduty open hold_ended 1/0/0",
        "9:00 slack open hold_ended 1/0/0",
    ]
    # And it goes on as any other.
    await s.report("31:00", high("Latency", "1:00", "31:00"))
    assert s.heard() == ["31:00 slack resolve all_resolved 0/1/0"]


async def test_what_fired_before_the_deploy_is_never_held_by_it() -> None:
    s = script()
    await deploy(s, "1:00")
    await s.report("1:10", high("ErrorRate", "0:59"))
    assert s.heard() == ["1:10 slack open first_notification 1/0/0"]
    await s.report("1:20", high("Latency", "1:00"))
    assert s.heard() == []


async def test_a_critical_alert_in_the_middle_is_not_held_by_a_rule_that_does_not_say_so() -> None:
    s = script()
    await deploy(s, "0:00")
    await s.report("1:00", high("ErrorRate", "1:00", severity="critical"))
    assert s.heard() == ["1:00 slack open first_notification 1/0/0"]


async def test_a_failed_deploy_ends_its_hold_at_once() -> None:
    s = script()
    await deploy(s, "0:00")
    await s.report("1:00", high("ErrorRate", "1:00"))
    await deploy(s, "2:00", "failed")
    await s.until("2:01")
    assert s.heard() == ["2:00 slack verdict deploy_failed 1/0/0", "2:00 slack open hold_ended 1/0/0"]
    await s.report("3:00", high("Latency", "3:00"))
    assert s.heard() == ["3:00 slack open first_notification 1/0/0"]


async def test_a_deploy_whose_end_never_came_ends_max_duration_after_its_start_and_says_so() -> None:
    s = script(LONG)
    await deploy(s, "0:00")
    await s.report("1:00", high("ErrorRate", "1:00"))
    await s.until("29:59")
    assert s.heard() == []
    await s.until("45:00")
    assert s.heard() == ["30:00 slack verdict deploy_end_missing 1/0/0", "30:00 slack open hold_ended 1/0/0"]


async def test_a_rules_duration_is_the_longest_and_the_verdict_waits_for_the_deploys_end() -> None:
    s = script()
    await deploy(s, "0:00")
    await s.report("1:00", high("ErrorRate", "1:00"))
    await s.until("20:00")
    assert s.heard() == ["15:00 slack open hold_ended 1/0/0"]
    await deploy(s, "20:00", "succeeded")
    await s.until("40:00")
    assert s.heard() == ["25:00 slack verdict deploy_settled 1/0/0"]


async def test_a_deploy_that_breaks_everything_is_not_quiet() -> None:
    s = script(deploys=DeploySettings(panic_threshold=3))
    await deploy(s, "0:00")
    for n in range(3):
        await s.report("1:00", high(f"{n}", "1:00"))
    await s.until("1:30")
    assert s.heard() == []
    await s.report("2:00", high("3", "2:00"))
    await s.until("2:01")
    told = s.heard()
    assert told[0] == "2:00 slack verdict too_many_held 4/0/0"
    assert told[1:] == ["2:00 slack open hold_ended 1/0/0"] * 4
    # It holds nothing more, and there is no second verdict.
    await s.report("3:00", high("4", "3:00"))
    await deploy(s, "4:00", "succeeded")
    await s.until("30:00")
    assert s.heard() == ["3:00 slack open first_notification 1/0/0"]


async def test_the_panic_threshold_counts_each_service_by_itself() -> None:
    s = script(deploys=DeploySettings(panic_threshold=3))
    await deploy(s, "0:00")
    for n in range(3):
        for service in ("a", "b"):
            await s.report("1:00", alert(f"High{n}", "1:00", service=service, environment="prod"))
    await s.until("2:00")
    assert s.heard() == []


async def test_a_held_alert_that_gets_worse_ends_the_hold() -> None:
    s = script()
    await deploy(s, "0:00")
    await s.report("1:00", high("ErrorRate", "1:00", severity="warning"), high("Latency", "1:00", severity="warning"))
    await s.report("2:00", high("ErrorRate", "2:00", severity="critical"))
    await s.until("2:01")
    assert s.heard("slack") == [
        "2:00 slack open first_notification 1/0/1",
        "2:00 slack verdict held_alert_worsened 2/0/0",
        "2:00 slack update hold_ended 2/0/0",
        "2:00 slack open hold_ended 1/0/0",
    ]  # fmt: skip


async def test_overlapping_deploys_hold_while_one_of_them_goes_on_and_have_one_verdict() -> None:
    s = script(LONG)
    await deploy(s, "0:00")
    await deploy(s, "2:00", service="web", id="d2", version="b2")
    await s.report("3:00", high("ErrorRate", "3:00"))
    await s.report("3:00", high("Latency", "3:00"))
    await deploy(s, "4:00", "succeeded")
    await s.until("9:30")
    # The first is over; the second holds on.
    assert s.heard() == []
    await s.report("9:40", high("Latency", "3:00", "9:40"))
    await deploy(s, "10:00", "succeeded", service="web", id="d2", version="b2")
    await s.until("30:00")
    assert s.heard() == ["15:00 slack verdict deploy_settled 1/1/0", "15:00 slack open hold_ended 1/0/0"]
    window = await s.replay.store.window("d2")
    assert window is not None
    assert window.verdict is not None
    assert window.verdict.windows == ("d1", "d2")


async def test_overlapping_deploys_hold_no_longer_than_duration_from_the_start_of_the_first() -> None:
    s = script()
    await deploy(s, "0:00")
    await deploy(s, "8:00", service="web", id="d2", version="b2")
    await s.report("9:00", high("ErrorRate", "9:00"))
    await deploy(s, "9:30", "failed")
    await s.until("14:59")
    assert s.heard() == []
    await s.until("15:00")
    assert s.heard() == ["15:00 slack open hold_ended 1/0/0"]


async def test_two_environments_are_two_deploys_and_each_holds_its_own() -> None:
    s = script()
    await deploy(s, "0:00")
    await deploy(s, "0:00", environment="staging", id="d2")
    await deploy(s, "1:00", "failed", environment="staging", id="d2")
    await s.report("2:00", high("ErrorRate", "2:00"))
    await s.report("2:00", alert("HighLatency", "2:00", service="api", env="staging"))
    assert s.heard() == ["2:00 slack open first_notification 1/0/0"]
    await s.until("50:00")
    assert [line for line in s.heard() if "verdict" in line] == ["30:00 slack verdict deploy_end_missing 1/0/0"]


@pytest.mark.parametrize(
    ("labels", "held"),
    [
        # `equal` compares what the alert's own labels say: `env` is a name for the environment.
        ({"env": "prod"}, True),
        ({"environment": "prod"}, True),
        ({"namespace": "prod"}, True),
        # The first of the names that is there counts.
        ({"environment": "beta", "env": "prod"}, False),
        # A deploy to prod does not explain an alert that names no environment.
        ({}, False),
    ],
)
async def test_environment_labels(labels: dict[str, str], held: bool) -> None:
    s = script()
    await deploy(s, "0:00")
    await s.report("1:00", alert("HighLoad", "1:00", **labels))
    assert (s.heard() == []) is held


async def test_a_deploy_of_another_service_holds_nothing_where_the_rule_compares_services() -> None:
    s = script(BY_SERVICE)
    await deploy(s, "0:00", service="web")
    await s.report("1:00", high("ErrorRate", "1:00"))
    await s.report("1:00", alert("HighLatency", "1:00", app="web"))
    assert s.heard() == ["1:00 slack open first_notification 1/0/0"]


async def test_an_overrun_maintenance_releases_what_still_fires_and_what_is_extended_is_held_on() -> None:
    s = script(WORKS)
    await works(s, "0:00", duration="1h", reason="new disks")
    await s.report("5:00", alert("Slow", "5:00"), alert("Down", "5:00"))
    await s.until("49:00")
    assert s.heard() == []
    await s.until("50:30")
    assert s.heard() == ["50:00 slack notice maintenance_ends_soon 0/0/0"]
    await works(s, "55:00", "extend", duration="30m")
    await s.report("1:00:00", alert("Slow", "5:00", "1:00:00"))
    await s.until("1:21:00")
    assert s.heard() == ["1:20:00 slack notice maintenance_ends_soon 0/0/0"]
    await s.until("2:00:00")
    assert s.heard() == [
        "1:30:00 slack verdict maintenance_over 1/1/0",
        "1:30:00 slack open hold_ended 1/0/0",
    ]


async def test_a_maintenance_that_is_ended_releases_at_once() -> None:
    s = script(WORKS)
    await works(s, "0:00", duration="1h")
    await s.report("5:00", alert("Slow", "5:00"))
    await works(s, "6:00", "end")
    await s.until("6:00")
    assert s.heard() == ["6:00 slack verdict maintenance_ended 1/0/0", "6:00 slack open hold_ended 1/0/0"]


async def test_a_maintenance_holds_the_reminders_of_what_fired_before_it() -> None:
    s = script(WORKS)
    await s.report("0:00", alert("Down", "0:00"))
    assert s.heard() == ["0:00 slack open first_notification 1/0/0"]
    await works(s, "3:59:00", duration="2h")
    await s.until("5:58:00")
    assert s.heard() == []
    await s.until("8:00:00")
    assert s.heard() == ["8:00:00 slack remind repeat_interval 1/0/0"]


async def test_a_window_that_held_nothing_says_nothing() -> None:
    s = script(DEPLOY, WORKS)
    await deploy(s, "0:00")
    await works(s, "0:00", duration="1h")
    await deploy(s, "1:00", "succeeded")
    await s.until("2:00:00")
    assert s.heard("slack", "pagerduty") == []


async def test_a_second_try_of_a_deploy_does_not_hold_again_what_the_first_released() -> None:
    s = script(LONG)
    await deploy(s, "0:00", at=at("0:00").isoformat())
    await s.report("1:00", high("ErrorRate", "1:00"))
    await deploy(s, "2:00", "failed", at=at("2:00").isoformat())
    await s.until("2:30")
    assert len(s.heard()) == 2
    await deploy(s, "3:00", at=at("3:00").isoformat())
    await s.report("4:00", high("Latency", "4:00"))
    await deploy(s, "5:00", "succeeded")
    await s.until("20:00")
    assert s.heard() == ["10:00 slack verdict deploy_settled 1/0/0", "10:00 slack open hold_ended 1/0/0"]


async def test_an_alert_that_an_alert_source_holds_too_waits_on() -> None:
    s = script(LONG, rule("outage", "alertname=Outage", "alertname=~High.*"))
    await s.report("0:00", alert("Outage", "0:00"))
    s.heard()
    await deploy(s, "0:30")
    await s.report("1:00", high("ErrorRate", "1:00"))
    await deploy(s, "2:00", "failed")
    await s.until("2:30")
    assert s.heard() == ["2:00 slack verdict deploy_failed 0/0/1"]
    await s.report("3:00", alert("Outage", "0:00", "3:00"))
    await s.until("4:00")
    assert s.heard() == ["3:00 slack resolve all_resolved 0/1/0", "3:10 slack open hold_ended 1/0/0"]


async def test_a_maintenance_holds_escalations_of_what_fired_before_it_and_its_early_end_lets_them_go() -> None:
    steps = Escalation("lead", (EscalationStep(5 * MINUTE, "lead"),))
    receivers = {r.name: r for r in (receiver("ops", "slack"), receiver("lead", "slack"), receiver("log"))}
    made = policy(
        route=replace(QUICK, escalation="lead"),
        inhibit_rules=(WORKS,),
        receivers=receivers,
        escalations={"lead": steps},
    )
    s = Script(made)
    await s.report("0:00", alert("Down", "0:00"))
    await works(s, "1:00", duration="3h")
    await s.until("10:00")
    assert s.heard() == ["0:00 slack open first_notification 1/0/0"]
    await works(s, "10:30", "end")
    await s.until("12:00")
    assert s.heard() == ["11:00 slack update escalated 1/0/0", "11:00 slack escalate escalated 1/0/0"]


async def test_a_success_that_is_told_after_the_failure_does_not_hold_again() -> None:
    s = script(LONG)
    await deploy(s, "0:00")
    await s.report("1:00", high("ErrorRate", "1:00"))
    await deploy(s, "2:00", "failed")
    await s.until("2:30")
    assert len(s.heard()) == 2
    await deploy(s, "3:00", "succeeded")
    await s.report("3:30", high("Latency", "3:30"))
    assert s.heard() == ["3:30 slack open first_notification 1/0/0"]


async def test_a_deploy_that_settles_just_when_max_duration_is_over_did_report_its_end() -> None:
    s = script(LONG)
    await deploy(s, "0:00")
    await s.report("1:00", high("ErrorRate", "1:00"))
    await deploy(s, "25:00", "succeeded")
    await s.until("40:00")
    assert s.heard()[0] == "30:00 slack verdict deploy_settled 1/0/0"
