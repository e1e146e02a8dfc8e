"""The bot beside an Alertmanager: what fires and is silenced on either side, and what people then hear.

The Alertmanager is a stand-in that sends no webhooks: what comes by webhook the test posts itself, with that
Alertmanager's own startsAt. A look is taken when the test says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from alertbot.domain.model import SEVERITY_LABEL
from alertbot.reconcile import matchers_for
from tests.acceptance.bot import Bot, Json
from tests.standins.alertmanager import AlertmanagerStandin

CONFIG = """
route: {receiver: ops, group_by: [alertname], group_wait: 0s, group_interval: 1s, repeat_interval: 4h}
receivers:
  - name: ops
    pagerduty_configs: [{routing_key: '${PAGERDUTY_KEY}'}]
    slack_configs: [{channel: '#ops-alerts'}]
"""


class Pair(Bot):
    """A bot, and the two members of a cluster that it knows."""

    def __init__(self, folder: Path, store_url: str = "") -> None:
        super().__init__(folder, CONFIG, store_url=store_url)
        self.a = AlertmanagerStandin(clock=self._time)
        self.b = AlertmanagerStandin(clock=self._time)
        self.b.silences = self.a.silences  # they gossip
        self.more = ""

    async def start(self) -> None:
        await super().start()
        # Looks are taken when a test says so.
        await self.app.reconciler.stop()

    def write_config(self, config: str, *, head: Mapping[str, str] | None = None) -> None:
        first = "  slack_bot_token: ${SLACK_BOT_TOKEN}\n"
        mine = f"  alertmanager_url: [{self.a.url}, {self.b.url}]\n{self.more}"
        super().write_config(config, head={first: mine + first, **(head or {})})

    async def look(self, after: str = "0s") -> None:
        """Time passes, then a look is taken and what follows is done."""
        await self.advance(after)
        await self.app.reconciler.turn()
        await self.settle()

    async def both(self, name: str = "Down", by_webhook: bool = True, **labels: str) -> Json:
        """An alert fires at both members, and comes here by webhook."""
        made = self.a.fire({"alertname": name, "severity": "critical", **labels})
        self.b.alerts[made["fingerprint"]] = made
        if by_webhook:
            await self.fire(webhook(made), groupKey="{}:{}", externalURL="https://alertmanager.example.org")
        return made

    def end_there(self, alert: Json) -> None:
        for member in (self.a, self.b):
            member.end(alert)

    async def status(self, name: str = "Down") -> str:
        found = await self.incident(name)
        return f"{found['status']} {found['acknowledged_by'] or ''}".strip()


def webhook(alert: Json) -> Json:
    """The alert as the webhook has it."""
    kept = ("fingerprint", "labels", "annotations", "startsAt", "generatorURL")
    return {k: alert[k] for k in kept} | {"status": "firing", "endsAt": "0001-01-01T00:00:00Z"}


def until(there: Json) -> datetime:
    return datetime.fromisoformat(there["endsAt"])


@pytest.fixture
async def bot(tmp_path: Path) -> AsyncIterator[Pair]:
    pair = Pair(tmp_path)
    async with pair.a, pair.b, pair:
        yield pair


async def test_what_is_gone_at_both_in_two_looks_is_closed(bot: Pair) -> None:
    alert = await bot.both()
    await bot.look()
    bot.end_there(alert)
    await bot.look("1m")
    assert await bot.status() == "open"
    await bot.look("1m")
    assert await bot.status() == "resolved"
    assert "gone_there" in await bot.reasons("Down", "alert")
    assert bot.pagerduty.open() == []


class Case:
    """How the members are spoilt between the looks."""

    @staticmethod
    def one_does_not_answer(bot: Pair) -> None:
        bot.b.faults.add("close", times=None)

    @staticmethod
    def none_answers(bot: Pair) -> None:
        bot.a.faults.add("close", times=None)
        bot.b.faults.add("close", times=None)

    @staticmethod
    def both_started_anew(bot: Pair) -> None:
        bot.a.restart()
        bot.b.restart()

    @staticmethod
    def one_still_has_it(bot: Pair) -> None:
        bot.b.fire({"alertname": "Down", "severity": "critical"})


@pytest.mark.parametrize(
    "spoil", [Case.one_does_not_answer, Case.none_answers, Case.both_started_anew, Case.one_still_has_it]
)
async def test_there_is_no_all_clear_while_one_of_them_may_know_better(bot: Pair, spoil: Any) -> None:
    alert = await bot.both()
    await bot.look()
    bot.end_there(alert)
    spoil(bot)
    for _ in range(3):
        await bot.look("1m")
    assert await bot.status() == "open"


async def test_two_looks_with_one_in_between_that_failed_are_not_two_in_a_row(bot: Pair) -> None:
    alert = await bot.both()
    await bot.look()
    bot.end_there(alert)
    await bot.look("1m")
    bot.b.faults.add("answer", times=3, status=500)
    await bot.look("1m")
    await bot.look("1m")
    assert await bot.status() == "open"
    await bot.look("1m")
    assert await bot.status() == "resolved"


async def test_what_came_from_elsewhere_is_not_alertmanagers_to_end(bot: Pair) -> None:
    """Grafana, or the Alertmanager of another cluster, sends here too: ours never had its alerts."""
    await bot.fire(bot.alert("Down"), groupKey="{}:{}", externalURL="https://grafana.example.org/")
    for _ in range(4):
        await bot.look("1m")
    assert await bot.status() == "open"


async def test_by_its_external_url_it_is_ours_even_if_it_was_never_seen_there(bot: Pair) -> None:
    await bot.fire(bot.alert("Down"), groupKey="{}:{}", externalURL=bot.a.url)
    await bot.look("1m")
    await bot.look("1m")
    assert await bot.status() == "resolved"


async def test_what_fires_there_and_was_never_heard_here_is_opened_after_two_looks(bot: Pair) -> None:
    await bot.both("Other")
    await bot.both(by_webhook=False)
    await bot.look()
    assert [i["labels"]["alertname"] for i in await bot.incidents()] == ["Other"]
    await bot.look("1m")
    assert await bot.status() == "open"
    assert "found_there" in await bot.reasons("Down", "alert")


async def test_what_goes_to_other_receivers_there_is_not_opened(bot: Pair) -> None:
    """The API names receivers, and not whose webhook they have. One by which alerts came has ours."""
    await bot.both("Known")
    for member in (bot.a, bot.b):
        member.fire({"alertname": "Theirs"}, receivers=("another-team",))
        member.fire({"alertname": "Ours"}, receivers=("another-team", "alertbot"))
    await bot.look()
    await bot.restart()
    await bot.look("1m")
    await bot.look("1m")
    assert [i["labels"]["alertname"] for i in await bot.incidents()] == ["Known", "Ours"]


async def test_a_config_may_name_the_receivers_that_are_ours(bot: Pair) -> None:
    bot.more = "  alertmanager_receiver: team-.*\n"
    bot.write_config(bot.config)
    await bot.restart()
    for member in (bot.a, bot.b):
        member.fire({"alertname": "Theirs"}, receivers=("another-team-x",))
        member.fire({"alertname": "Ours"}, receivers=("team-ops",))
    await bot.look()
    await bot.look("1m")
    assert [i["labels"]["alertname"] for i in await bot.incidents()] == ["Ours"]


async def test_what_is_silenced_inhibited_or_maybe_muted_there_is_not_opened(bot: Pair) -> None:
    await bot.both("Known")
    bot.a.silence({"alertname": "Silenced"})
    for member in (bot.a, bot.b):
        member.fire({"alertname": "Silenced"})
        member.fire({"alertname": "Inhibited"}, inhibited_by=("0123456789abcdef",))
    await bot.look()
    await bot.look("1m")
    for member in (bot.a, bot.b):
        member.config += "  routes:\n    - mute_time_intervals: [night]\n"
        member.fire({"alertname": "Muted?"})
    await bot.look("1m")
    await bot.look("1m")
    assert [i["labels"]["alertname"] for i in await bot.incidents()] == ["Known"]


async def test_a_silence_that_is_asked_for_is_made_at_once_and_not_at_the_next_look(bot: Pair) -> None:
    await bot.both()
    await bot.app.reconciler.start()
    incident = await bot.incident("Down")
    await bot.act(f"/api/v1/incidents/{incident['id']}/silence", by="ada", duration="1h")
    async with asyncio.timeout(10):
        while not bot.a.active():  # noqa: ASYNC110 - a call over loopback is waited for
            await asyncio.sleep(0.001)


@pytest.mark.parametrize(
    ("labels", "others", "ruled_out"),
    [
        # Equality in every label is this alert, and any that has more.
        ({"alertname": "A"}, [], []),
        # Another value is another alert already.
        ({"alertname": "A", "host": "a"}, [{"alertname": "A", "host": "b"}], []),
        # The same and more: one of its further labels must be absent.
        ({"alertname": "A"}, [{"alertname": "A", "zone": "z"}], ["zone"]),
        # One label may rule out several.
        ({"alertname": "A"}, [{"alertname": "A", "zone": "z", "x": "1"}, {"alertname": "A", "x": "2"}], ["x"]),
        # Itself rules nothing out.
        ({"alertname": "A", "zone": "z"}, [{"alertname": "A", "zone": "z"}], []),
    ],
)
def test_what_a_silence_matches_is_exactly_its_alert(
    labels: dict[str, str], others: list[dict[str, str]], ruled_out: list[str]
) -> None:
    made = matchers_for({**labels, SEVERITY_LABEL: "critical"}, others)
    assert {m.name: m.value for m in made} == {**labels, **dict.fromkeys(ruled_out, "")}


# Silences.


async def test_a_silence_is_made_in_alertmanager_for_exactly_these_alerts(bot: Pair) -> None:
    alert = await bot.both(host="a", text='says "no"\nto ü\\')
    # The same and a label more: another alert.
    bot.a.fire({**alert["labels"], "zone": "z"})
    incident = await bot.incident("Down")
    await bot.act(f"/api/v1/incidents/{incident['id']}/silence", by="ada", duration="1h", comment="a deploy")
    await bot.look()
    (there,) = bot.a.active()
    made = {m["name"]: m["value"] for m in there["matchers"]}
    assert made == {"alertname": "Down", "host": "a", "severity": "critical", "text": 'says "no"\nto ü\\', "zone": ""}
    assert all(m["isEqual"] and not m["isRegex"] for m in there["matchers"])
    assert there["createdBy"] == "ada"
    assert there["comment"].startswith("a deploy (silenced through alertbot: https://alertbot.example.org/incidents/")
    assert until(there) - bot.now == timedelta(hours=1)
    assert await bot.status() == "acknowledged ada"
    assert [i.status for i in bot.pagerduty.incidents] == ["acknowledged"]
    # It shows with its reason, and in the story.
    (shown,) = (await bot.incident("Down"))["silences"]
    assert (shown["by"], shown["comment"], shown["via"], shown["problem"]) == ("ada", "a deploy", "alertbot", None)
    assert "silence_kept" in await bot.reasons("Down", "incident")
    assert "Silenced by ada" in str(bot.slack.messages("#ops-alerts")[0])
    # A second look makes no second one.
    await bot.look("1m")
    assert len(bot.a.active()) == 1


async def test_a_crash_between_the_call_and_its_record_makes_no_second_silence(bot: Pair) -> None:
    await bot.both()
    incident = await bot.incident("Down")
    bot.a.faults.add("done_close", "POST /api/v2/silences", times=1)
    bot.b.faults.add("close", "POST /api/v2/silences", times=1)
    await bot.act(f"/api/v1/incidents/{incident['id']}/silence", by="ada", duration="1h")
    await bot.look()
    assert (await bot.incident("Down"))["silences"][0]["problem"] is not None or len(bot.a.active()) == 1
    bot.a.faults.clear()
    bot.b.faults.clear()
    await bot.restart()
    await bot.look()
    assert len(bot.a.active()) == 1
    assert (await bot.incident("Down"))["silences"][0]["problem"] is None


async def test_with_no_alertmanager_that_answers_it_is_muted_here_and_says_so_and_made_later(bot: Pair) -> None:
    await bot.both()
    incident = await bot.incident("Down")
    Case.none_answers(bot)
    await bot.act(f"/api/v1/incidents/{incident['id']}/silence", by="ada", duration="1h")
    await bot.look()
    assert await bot.status() == "acknowledged ada"
    assert (await bot.incident("Down"))["silences"][0]["problem"] == "no Alertmanager answers"
    assert "muted here only" in str(bot.slack.messages("#ops-alerts")[0])
    bot.a.faults.clear()
    await bot.look("5m")
    (there,) = bot.a.active()
    assert until(there) - bot.now == timedelta(minutes=55)
    assert (await bot.incident("Down"))["silences"][0]["problem"] is None


async def test_a_silence_until_resolved_is_extended_while_it_goes_on_and_ended_with_it(bot: Pair) -> None:
    alert = await bot.both()
    incident = await bot.incident("Down")
    await bot.act(f"/api/v1/incidents/{incident['id']}/silence", by="ada")
    await bot.look()
    (first,) = bot.a.active()
    before = until(first)
    await bot.look("61m")
    (again,) = bot.a.active()
    assert again["id"] == first["id"]
    assert until(again) > before
    bot.end_there(alert)
    await bot.look("1m")
    # What is silenced there sends no "resolved": the looks find that it is over.
    await bot.look("1m")
    assert (await bot.incident("Down"))["status"] == "resolved"
    await bot.look("1m")
    assert bot.a.active() == []


async def test_a_person_ends_it_here_and_it_ends_there(bot: Pair) -> None:
    await bot.both()
    incident = await bot.incident("Down")
    path = f"/api/v1/incidents/{incident['id']}/silence"
    await bot.act(path, by="ada", duration="1h")
    await bot.look()
    assert (await bot.ask("DELETE", path)).status == 200
    await bot.look()
    assert bot.a.active() == []
    assert (await bot.incident("Down"))["silences"] == []
    # And made again, it is not taken for ended by hand.
    await bot.act(path, by="ada", duration="1h")
    await bot.look("1s")
    await bot.look("1m")
    assert len(bot.a.active()) == 1


async def test_a_person_ends_it_there_and_it_is_heard_here_again(bot: Pair) -> None:
    await bot.both()
    incident = await bot.incident("Down")
    await bot.act(f"/api/v1/incidents/{incident['id']}/silence", by="ada", duration="1h")
    await bot.look()
    await bot.advance("5m")
    bot.a.expire(bot.a.active()[0]["id"])
    await bot.look()
    assert bot.a.active() == []
    found = await bot.incident("Down")
    assert (found["status"], found["silences"]) == ("open", [])
    assert len(bot.pagerduty.pages) == 2


async def test_a_silence_made_there_shows_here_and_its_end_is_told(bot: Pair) -> None:
    await bot.both()
    await bot.look()
    made = bot.a.silence({"alertname": "Down"}, comment="looking into it", by="grace")
    await bot.look("1m")
    assert await bot.status() == "acknowledged grace"
    (shown,) = (await bot.incident("Down"))["silences"]
    assert (shown["by"], shown["via"], shown["comment"]) == ("grace", "alertmanager", "looking into it")
    assert "Silenced by grace" in str(bot.slack.messages("#ops-alerts")[0])
    bot.a.expire(made)
    await bot.look("1m")
    assert await bot.status() == "open"
