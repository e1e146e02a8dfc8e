"""A storm as each destination shows it: within its limits, harmless whatever the labels say, and with what was cut."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from alertbot.domain.model import Action, Alert, IncidentStatus
from alertbot.domain.storm import Storm, storm_of
from alertbot.notifiers.base import Job, Links
from alertbot.notifiers.email import EmailNotifier
from alertbot.notifiers.pagerduty import EVENT_BYTES, Payload
from alertbot.notifiers.slack_blocks import Renderer
from alertbot.notifiers.sms import SmsNotifier, segments
from alertbot.storms import incident_of
from tests.notifiers.jobs import NASTY, NOW, alert, incident, job
from tests.standins.blocks import objections
from tests.standins.pagerduty import ROUTING_KEY, event_errors

PAGE = "https://alertbot.example.org/"
SEVERITIES = ["critical", "high", "medium", "low"]


def storm_job(count: int, *, over: bool = False, text: str = "", still: int | None = None) -> Job:
    """So many incidents, of which `still` are open; `text` stands in every label and title."""
    open_ = count if still is None else still
    members = []
    sample: list[Alert] = []
    for n in range(count):
        status = IncidentStatus.OPEN if n < open_ else IncidentStatus.RESOLVED
        labels = {"alertname": f"Down{n % 30}{text}", "service": f"s{n % 12}{text}"}
        members.append(replace(incident([alert()], status), id=f"i{n}", title=f"Down {n} {text}", labels=labels))
        sample.append(replace(alert(n), incident=f"i{n}", labels={**labels, "zone": f"z{text}"}))
    storm: Storm = storm_of(members, sample[:100], NOW, SEVERITIES, ("service",))
    storm = replace(storm, over=over)
    plain = job(action=Action.RESOLVE if over else Action.OPEN)
    return replace(
        plain,
        incident=replace(incident_of(plain.delivery, storm, "ops"), id="storm-1"),
        alerts=(),
        news=(),
        links=Links(incident=PAGE),
        storm=storm,
    )


TEXTS = ["", NASTY, "x" * 5_000, "&<>" * 500, "\u202e\u0000\r\n<!channel>"]


@pytest.mark.parametrize("over", [False, True])
@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_slack_takes_the_board_whatever_stands_in_the_labels(text: str, over: bool) -> None:
    message = Renderer().card(storm_job(60, over=over, text=text, still=5 if over else None))
    assert objections(message.blocks) == []
    said = json.dumps(message.blocks)
    assert "<!channel>" not in "".join(
        b["text"]["text"] for b in message.blocks if b.get("text", {}).get("type") == "mrkdwn"
    )
    assert ("The storm is over" in said) is over
    assert ("5 of 60 incidents are open" if over else "60 of 60 incidents are open") in said


def test_the_board_names_the_worst_by_name_and_what_they_share_and_links_to_all() -> None:
    message = Renderer().card(storm_job(60))
    said = "\n".join(b["text"]["text"] for b in message.blocks if "text" in b)
    for piece in (
        "By service: s0 5 of 5",
        "By alert: Down0 2 of 2",
        "In common: zone=z",
        "• CRITICAL Down 0",
        "and 50 more",
    ):
        assert piece in said
    assert PAGE in said


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_pagerduty_takes_a_page_that_lists_a_thousand_and_says_how_many_it_does_not(text: str) -> None:
    body = Payload("alertbot", {}).trigger(storm_job(1_000, text=text))
    event = {"routing_key": ROUTING_KEY, "event_action": "trigger", "dedup_key": "storm-1", **body}
    assert event_errors(event) == []
    assert len(json.dumps(event)) <= EVENT_BYTES
    details = body["payload"]["custom_details"]
    assert {line.split()[0] for line in details["incidents"]} == {f"i{n}" for n in range(1_000)}
    many = Payload("alertbot", {}).trigger(storm_job(5_000, text=text))["payload"]["custom_details"]
    assert len(many["incidents"]) + int(many.get("not_shown", "0").split()[0]) == 5_000


def test_a_digest_lists_and_a_text_counts() -> None:
    mail = EmailNotifier(host="localhost", sender="a@example.org", addresses=["b@example.org"]).message(storm_job(60))
    text = mail.get_body(("plain",))
    assert text is not None
    assert "60 of 60 incidents are open" in text.get_content()
    assert "CRITICAL Down 0" in text.get_content()
    assert str(mail["Subject"]).startswith("[CRITICAL] Storm: 60 incidents")
    sms = SmsNotifier("AC", "t", to="+15550100", sender="+15550199").text(storm_job(60, text="ü" * 300))
    assert segments(sms) <= 2
    assert "60 incidents" in sms
