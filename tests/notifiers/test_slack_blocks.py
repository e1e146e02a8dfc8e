"""Cards and replies as Slack would take and show them, whatever stands in the labels and annotations."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alertbot.domain.model import (
    Action,
    Alert,
    AlertStatus,
    Delivery,
    Entry,
    Hold,
    Incident,
    IncidentStatus,
    Level,
    Want,
)
from alertbot.domain.reasons import Reason
from alertbot.notifiers.base import Job, Links
from alertbot.notifiers.slack_blocks import BUTTONS, CONTEXT, Message, Renderer, code, fit, size, units, words
from alertbot.render import check_templates
from tests.standins.blocks import objections
from tests.standins.mrkdwn import rendered_mentions, shown

NOW = datetime(2026, 11, 21, 3, 12, tzinfo=UTC)
PAGE = "https://alertbot.example.org/incidents/i1"
SEVERITIES = ("critical", "high", "medium", "low")
NASTY = (
    "<!channel> <!here> <@U12345> <#C12345> <!subteam^S123> <https://evil.example|click here> @channel "
    "*bold* _it_ ~gone~ `code` :fire: &amp; &lt;!channel&gt;\r\n> quote\x00\x1b[31m\u202egpj.exe\u2066"
)


def alert(number: int = 0, **changes: Any) -> Alert:
    base = Alert(
        incident="i1",
        identity=f"{number:016x}",
        fingerprint=f"{number:016x}",
        labels={"alertname": "HighErrorRate", "service": "api", "instance": f"api-{number}:8080"},
        annotations={"summary": f"{number} % of requests fail"},
        severity="critical",
        status=AlertStatus.FIRING,
        starts_at=NOW - timedelta(minutes=12, seconds=number),
        changed_at=NOW,
        seen_at=NOW,
    )
    return replace(base, **changes)


def incident(alerts: Sequence[Alert], status: IncidentStatus = IncidentStatus.OPEN, **changes: Any) -> Incident:
    base = Incident(
        id="i1",
        key="{}:{}",
        route="{}",
        receiver="ops",
        labels={"alertname": "HighErrorRate", "service": "api"},
        title="HighErrorRate (api)",
        severity="critical",
        status=status,
        created_at=NOW - timedelta(minutes=13),
        opened_at=NOW - timedelta(minutes=12),
        openings=1,
        revision=1,
        news=1,
        firing=sum(a.firing and a.hold is None for a in alerts),
        held=sum(a.firing and a.hold is not None for a in alerts),
        resolved=sum(not a.firing for a in alerts),
    )
    return replace(base, **changes)


def job(
    alerts: Sequence[Alert] = (),
    action: Action = Action.OPEN,
    status: IncidentStatus = IncidentStatus.OPEN,
    links: Links | None = None,
    news: Sequence[Entry] = (),
    quiet: bool = False,
    **changes: Any,
) -> Job:
    level = Level(status, 1, 1, 1, quiet)
    kind = "remind" if action is Action.REMIND else "incident"
    want = Want("i1", "ops", "slack", "#ops", "slack:#ops", level, Reason.FIRST_NOTIFICATION, NOW, 0, kind)
    return Job(
        delivery=Delivery(want.id, want, created_at=NOW - timedelta(minutes=13)),
        action=action,
        incident=incident(alerts, status, **changes),
        alerts=alerts,
        news=news,
        links=links or Links(incident=PAGE),
        severities=SEVERITIES,
        now=NOW,
    )


def as_sent(message: Message) -> dict[str, Any]:
    return {"text": message.text, "blocks": list(message.blocks), "parse": "none", "link_names": False}


def check(message: Message, allowed: Sequence[str] = (PAGE,)) -> None:
    """Slack takes it, within every margin; and nothing in it is alive but the links that are ours."""
    assert objections(message.blocks) == []
    assert size(message.blocks) <= 11_800
    assert units(message.text) <= 1_000
    assert 1 <= units(message.plain) <= 4_000
    alive = rendered_mentions(as_sent(message), autolinks=False)
    assert [m for m in alive if m.target not in allowed] == []
    assert not [m for m in rendered_mentions({"text": message.plain}) if m.target not in allowed]
    everything = json.dumps(message.blocks, ensure_ascii=False) + message.text + message.plain
    assert not set(everything) & set("\u202e\u2066\u200b\u2028\x00\x1b")


def plain_texts(message: Message) -> str:
    return shown(as_sent(message))


def test_our_templates_can_be_filled() -> None:
    assert [p for p in check_templates() if p.startswith("slack/")] == []


def test_a_card_says_first_how_urgent_it_is_what_it_is_and_how_many_fire() -> None:
    message = Renderer().card(job([alert(5), alert(7)]))
    assert message.text == "[CRITICAL] HighErrorRate (api) (2 firing)"
    assert message.blocks[0]["type"] == "header"
    assert message.blocks[0]["text"]["text"] == "🔴 CRITICAL firing: HighErrorRate (api)"
    said = plain_texts(message)
    assert "2 firing · since 2026-11-21 03:00 UTC\nNot acknowledged" in said
    assert said.index("`service=api`") < said.index("5 % of requests fail") < said.index("7 % of requests fail")
    assert "`instance=api-5:8080`" in said
    check(message)


# (the rule, the status of the incident and what else is known, what the header and the card say)
STATUSES: list[tuple[str, IncidentStatus, dict[str, Any], str, str]] = [
    ("who has it, and since when", IncidentStatus.ACKNOWLEDGED,
     {"acknowledged_by": "ada", "acknowledged_at": NOW}, "👀 CRITICAL acknowledged",
     "Acknowledged by ada at 2026-11-21 03:12 UTC"),
    ("an end says how long it lasted, and who ended it", IncidentStatus.RESOLVED,
     {"resolved_by": "ada", "resolved_at": NOW}, "✅ CRITICAL resolved",
     "Resolved 2026-11-21 03:12 UTC by ada, after 12 min"),
    ("one that fires again, untold, is closed for people", IncidentStatus.PENDING, {},
     "✅ CRITICAL resolved", ""),
    ("one that is kept back", IncidentStatus.HELD, {}, "⏸️ CRITICAL held", ""),
    ("flapping is said, for nobody is paged", IncidentStatus.OPEN, {"flapping": True}, "🔴 CRITICAL firing",
     "Flapping: it opens and closes"),
    ("a test is marked as one", IncidentStatus.OPEN, {"test": True}, "🔴 CRITICAL firing: [TEST] ",
     "This is a test of alertbot"),
    ("what was cut off a list is not vouched for", IncidentStatus.OPEN, {"unknown": 3}, "🔴 CRITICAL firing",
     "Of those firing, 3 may be over"),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "status", "known", "header", "line"), STATUSES, ids=[s[0] for s in STATUSES])
def test_a_card_says_the_incidents_status_in_words(
    rule: str, status: IncidentStatus, known: dict[str, Any], header: str, line: str
) -> None:
    message = Renderer().card(job([alert()], status=status, **known))
    assert message.blocks[0]["text"]["text"].startswith(header)
    assert line in plain_texts(message)
    check(message)


def test_what_is_held_is_said_with_what_holds_it_and_until_when() -> None:
    held = alert(2, hold=Hold(Reason.INHIBITED, "deploy", NOW, NOW + timedelta(minutes=10)))
    said = plain_texts(Renderer().card(job([alert(1), held])))
    assert "1 firing, 1 held" in said
    assert "Held by deploy until 2026-11-21 03:22 UTC" in said
    assert said.index("🔥 Firing: 1 %") < said.index("⏸️ Held: 2 %")


def test_the_worst_and_newest_alerts_come_first_and_the_others_are_counted() -> None:
    alerts = [alert(n, severity="low" if n < 490 else "critical") for n in range(200, 500)]
    message = Renderer().card(job(alerts, firing=500))
    said = plain_texts(message)
    assert [n for n in range(500) if f"Firing: {n} %" in said] == list(range(490, 500))
    assert said.index("Firing: 490 %") < said.index("Firing: 499 %"), "490 started last"
    assert "… and 490 more alerts, all on the incident's page." in said
    check(message)


def test_where_not_all_has_room_it_is_the_least_urgent_that_goes() -> None:
    alerts = [alert(n, annotations={"summary": "語" * 999, "description": "文" * 999}) for n in range(10)]
    message = Renderer().card(job([replace(a, severity="low") if n else a for n, a in enumerate(alerts)]))
    said = plain_texts(message)
    assert "`instance=api-0:8080`" in said
    assert "`instance=api-9:8080`" not in said
    assert "more alerts, all on the incident's page." in said
    check(message)


def test_links_are_shown_with_the_runbook_first_and_bad_or_endless_ones_left_out() -> None:
    good = Links(PAGE, "https://graph.example.org/?a=1&b=2", "https://runbooks.example.org/x", "javascript:alert(1)")
    message = Renderer().card(job([alert()], links=replace(good, silence="https://s.example.org/?" + "x" * 1_900)))
    links = [m for m in rendered_mentions(as_sent(message)) if m.kind == "link"]
    assert [(m.text, m.target) for m in links] == [
        ("Runbook", "https://runbooks.example.org/x"),
        ("Graph", "https://graph.example.org/?a=1&amp;b=2"),
        ("Incident", PAGE),
    ]


def test_mentions_are_the_operators_alone_and_ring_only_while_it_is_open() -> None:
    renderer = Renderer(["<@U0ADA>", "<!subteam^S0OPS>"])
    card = renderer.card(job([alert()]))
    pings = [m.target for m in rendered_mentions(as_sent(card)) if m.pings]
    assert pings == ["U0ADA", "S0OPS"]
    acknowledged = renderer.card(job([alert()], status=IncidentStatus.ACKNOWLEDGED))
    assert not [m for m in rendered_mentions(as_sent(acknowledged)) if m.pings]


@pytest.mark.parametrize("mention", ["@ada", "ops", "<!channel|x>", "<https://x>", "<@U1> hello"])
def test_a_mention_that_slack_does_not_know_is_refused(mention: str) -> None:
    with pytest.raises(ValueError, match="not a mention"):
        Renderer([mention])


def test_there_is_no_button_that_nothing_answers() -> None:
    card = Renderer().card(job([alert()]))
    assert not [b for b in card.blocks if b["type"] == "actions" or "accessory" in b]


ALL = frozenset(BUTTONS)


@pytest.mark.parametrize(
    ("status", "offered", "words"),
    [
        # Nobody has it: everything can be done.
        (IncidentStatus.OPEN, ALL, ["Acknowledge", "Resolve", "Silence", "Escalate", "Why?", "Runbook", "Note"]),
        # Somebody has it: it cannot be taken twice.
        (IncidentStatus.ACKNOWLEDGED, ALL, ["Resolve", "Silence", "Escalate", "Why?", "Runbook", "Note"]),
        # It is over: what is left is to understand it.
        (IncidentStatus.RESOLVED, ALL, ["Why?", "Note"]),
        # It is kept back, and nobody was told.
        (IncidentStatus.HELD, ALL, ["Why?", "Runbook", "Note"]),
        # What nothing answers is not offered.
        (IncidentStatus.OPEN, ALL - {"silence", "escalate"}, ["Acknowledge", "Resolve", "Why?", "Runbook", "Note"]),
    ],
)
def test_the_buttons_fit_the_incidents_state(status: IncidentStatus, offered: frozenset[str], words: list[str]) -> None:
    card = Renderer((), offered).card(job([alert()], status=status, revision=7))
    (block,) = [b for b in card.blocks if b["type"] == "actions"]
    assert [e["text"]["text"] for e in block["elements"]] == words
    assert {e["value"] for e in block["elements"]} == {"i1"}
    # A press says which card it was on.
    assert block["block_id"] == "acts.7"
    check(card)


ODD: list[tuple[str, list[Alert], dict[str, Any]]] = [
    ("mark-up of every kind",
     [alert(labels={"alertname": NASTY, NASTY: NASTY}, annotations={"summary": NASTY})],
     {"title": NASTY, "labels": {NASTY: NASTY}, "severity": "critical"}),
    ("a quarter of a megabyte in one annotation",
     [alert(annotations={"summary": "s" * 2**18, "description": "<&>" * 2**16})], {}),
    ("a thousand labels", [alert(labels={f"label_{n}": "v" * 50 for n in range(1000)})], {}),
    ("five hundred alerts", [alert(n) for n in range(500)], {}),
    ("five hundred long ones", [alert(n, annotations={"summary": "&" * 999, "description": "<" * 9999})
                                for n in range(500)], {"title": "&" * 999}),
    ("emoji, which are two units each", [alert(n, annotations={"summary": "🔥" * 900}) for n in range(20)],
     {"title": "🔥" * 400}),
    ("Hebrew and Arabic", [alert(annotations={"summary": "שלום עולם", "description": "مرحبا"})], {}),
    ("lone surrogates", [alert(annotations={"summary": "\ud800x\udfff"})], {"title": "\ud83d"}),
    ("nothing at all", [alert(labels={}, annotations={})], {"title": "", "labels": {}}),
    ("only white space", [alert(labels={"a": " \t\n"}, annotations={"summary": "\n\n \n"})], {"title": " "}),
    ("names of people and rules", [alert(hold=Hold(Reason.INHIBITED, NASTY, NOW))],
     {"acknowledged_by": NASTY, "status": IncidentStatus.ACKNOWLEDGED}),
]  # fmt: skip


@pytest.mark.parametrize(("what", "alerts", "known"), ODD, ids=[o[0] for o in ODD])
def test_big_and_odd_alerts_make_a_valid_card_in_which_nothing_is_alive(
    what: str, alerts: list[Alert], known: dict[str, Any]
) -> None:
    given = job(alerts, **known)
    check(Renderer().card(given))
    check(Renderer().reminder(given))
    news = [Entry(NOW, "alert", Reason.NEW_EPISODE, "i1", a.identity, by=NASTY, labels=a.labels) for a in alerts]
    note = Entry(NOW, "person", Reason.NOTE_ADDED, "i1", by=NASTY, details={"note": NASTY * 100})
    reply = Renderer().news(replace(given, action=Action.REOPEN), [*news, note])
    assert reply is not None
    check(reply)


_TEXT = st.one_of(
    st.text(max_size=80),
    st.lists(st.sampled_from([*"<>&!@`*_:|\nx😀", "<!channel>", "&lt;"])).map("".join),
    st.text(max_size=3).map(lambda t: (t or "&") * 2_000),
)  # fmt: skip
_TEXTS = st.dictionaries(_TEXT.filter(bool), _TEXT, max_size=6)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(labels=_TEXTS, annotations=_TEXTS, group=_TEXTS, title=_TEXT, by=_TEXT, count=st.integers(1, 15))
def test_any_labels_and_annotations_make_a_valid_card_in_which_nothing_is_alive(
    labels: Mapping[str, str],
    annotations: Mapping[str, str],
    group: Mapping[str, str],
    title: str,
    by: str,
    count: int,
) -> None:
    annotated = {**annotations, "summary": title, "description": by}
    alerts = [alert(n, labels={**labels, "n": str(n)}, annotations=annotated) for n in range(count)]
    given_job = job(alerts, labels=group, title=title, acknowledged_by=by, status=IncidentStatus.ACKNOWLEDGED)
    check(Renderer().card(given_job))
    entries = [Entry(NOW, "person", Reason.NOTE_ADDED, "i1", by=by, details={"note": title})]
    reply = Renderer().news(given_job, entries)
    assert reply is not None
    check(reply)


@given(text=_TEXT, limit=st.integers(12, 400))
def test_foreign_text_in_mrkdwn_is_cut_on_whole_entities_and_within_its_limit(text: str, limit: int) -> None:
    for dressed in (code(text, limit), words(text, limit)):
        assert units(dressed) <= limit
        rest = dressed.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "")
        assert not set(rest) & set("<>&")


def test_a_code_span_cannot_be_left() -> None:
    assert code("a`b` *c* :fire:\n<!here>") == "`a'b' *c* :fire: &lt;!here&gt;`"
    assert code("") == "` `"


def test_what_is_cut_says_how_much_is_missing() -> None:
    assert fit("x" * 100, 50).endswith(" more characters)")
    assert len(fit("x" * 100, 50)) <= 50


FAKES = [
    ("bold", "*CRITICAL*", "∗CRITICAL∗"),
    ("italics", "_it_ is", "ˍitˍ is"),
    ("a name keeps its underscores", "api_server_1", "api_server_1"),
    ("an emoji", "a :fire: b", "a ∶fire: b"),
    ("a time keeps its colons", "10:30:45", "10:30:45"),
    ("a quote", "> said", "› said"),
    ("code and strikes", "`x` ~y~", "ˋxˋ ∼y∼"),
]


@pytest.mark.parametrize(("rule", "text", "expected"), FAKES, ids=[f[0] for f in FAKES])
def test_no_markup_can_be_faked_in_the_fallback_text(rule: str, text: str, expected: str) -> None:
    assert words(text, 100) == expected


def entry(reason: Reason, kind: str = "incident", **more: Any) -> Entry:
    return Entry(NOW, kind, reason, "i1", **more)


def test_a_reply_tells_what_changed_and_whose_alert_it_is() -> None:
    a, b = alert(1), alert(2)
    said = Renderer().news(
        job([a, b], Action.UPDATE),
        [
            entry(Reason.NEW_EPISODE, "alert", identity=b.identity, labels=b.labels),
            entry(Reason.ALERT_RESOLVED, "alert", identity="gone", labels={"alertname": "X", "pod": "p-1"}),
            entry(Reason.ACKNOWLEDGED, "person", by="ada"),
            entry(Reason.NOTE_ADDED, "person", by="bob", details={"note": "looking\ninto it"}),
            entry(Reason.INHIBITED, "hold", by="deploy", until=NOW, labels=a.labels, identity=a.identity),
        ],
    )
    assert said is not None
    assert not said.broadcast
    assert plain_texts(said).splitlines() == [
        "🔥 Fires: 2 % of requests fail (instance=api-2:8080)",
        "✔️ Resolved: X (pod=p-1)",
        "👀 Acknowledged by ada.",
        "📝 Note by bob: looking into it",
        "⏸️ Held by deploy until 2026-11-21 03:12 UTC: 1 % of requests fail (instance=api-1:8080)",
    ]


# (the rule, the action, the entries, whether it flaps, whether there is a reply, whether the channel sees it)
REPLIES: list[tuple[str, Action, list[Entry], bool, bool, bool]] = [
    ("a repeat is no news", Action.UPDATE, [entry(Reason.DUPLICATE, "alert")], False, False, False),
    ("our own sending is no news", Action.UPDATE, [entry(Reason.SENT, "delivery")], False, False, False),
    ("a new alert stays in the thread", Action.UPDATE,
     [entry(Reason.NEW_EPISODE, "alert")], False, True, False),
    ("a reopening is seen by the channel", Action.REOPEN, [], False, True, True),
    ("so is a higher severity", Action.UPDATE,
     [entry(Reason.SEVERITY_RAISED, "notification")], False, True, True),
    ("flapping keeps still", Action.REOPEN, [], True, True, False),
    ("a close stays in the thread", Action.RESOLVE, [], False, True, False),
    ("what flapping stands for is told", Action.UPDATE,
     [entry(Reason.FLAPPING, "notification", details={"caused_by": "severity_raised"})], False, True, True),
]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "action", "entries", "quiet", "told", "broadcast"), REPLIES, ids=[r[0] for r in REPLIES]
)
def test_what_is_told_in_the_thread_and_what_the_channel_sees_of_it(
    rule: str, action: Action, entries: list[Entry], quiet: bool, told: bool, broadcast: bool
) -> None:
    reply = Renderer().news(job([alert()], action, quiet=quiet), entries)
    assert (reply is not None) == told
    if reply is not None:
        assert reply.broadcast == broadcast
        check(reply)


def test_a_persons_word_is_not_lost_among_five_hundred_alerts() -> None:
    entries = [entry(Reason.NEW_EPISODE, "alert", identity=str(n), labels={"n": str(n)}) for n in range(500)]
    reply = Renderer().news(job([alert()], Action.UPDATE), [*entries, entry(Reason.ACKNOWLEDGED, "person", by="ada")])
    assert reply is not None
    said = plain_texts(reply)
    assert "Acknowledged by ada." in said
    assert "… and 481 more changes." in said
    assert units(said) <= CONTEXT


def test_a_reply_that_the_channel_sees_says_what_it_is_about_and_calls_people() -> None:
    reply = Renderer(["<@U0ADA>"]).news(job([alert()], Action.REOPEN), [entry(Reason.REFIRED, "notification")])
    assert reply is not None
    said = plain_texts(reply)
    assert said.startswith("[CRITICAL] HighErrorRate (api) (1 firing)\nOpened again.\nIt fires again soon")
    assert [m.target for m in rendered_mentions(as_sent(reply))] == ["U0ADA", PAGE]
