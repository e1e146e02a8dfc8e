"""What a webhook's body says. The rules of the sender are Alertmanager's and Grafana's own."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alertbot.domain.events import AlertsReported, Parsed, ReportedAlert, Unreadable
from alertbot.domain.fingerprint import fingerprint
from alertbot.sources import SOURCES, alertmanager
from alertbot.sources.alertmanager import NOTE, SLICE, parse, parse_in_slices, rewrap
from tests.sources.recorded import WEBHOOKS, needs_corpus

NOW = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
LABELS = {"alertname": "HighLatency", "service": "api"}


def body(*alerts: Any, **fields: Any) -> bytes:
    return json.dumps({"version": "4", "status": "firing", "alerts": list(alerts), **fields}).encode()


def read(data: bytes) -> AlertsReported:
    (event,) = parse(data, NOW).events
    assert isinstance(event, AlertsReported)
    return event


def read_alert(alert: Any, **fields: Any) -> ReportedAlert:
    (found,) = read(body(alert, **fields)).alerts
    return found


def test_a_body_of_alertmanager_is_read_whole() -> None:
    event = read(
        body(
            {
                "status": "firing",
                "labels": LABELS,
                "annotations": {"summary": "p95 is 2 s"},
                "startsAt": "2026-01-05T09:58:00.123456789Z",
                "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": "http://prometheus:9090/graph",
                "fingerprint": "0123456789abcdef",
            },
            groupKey='{}:{alertname="HighLatency"}',
            externalURL="http://alertmanager:9093",
            truncatedAlerts=3,
            receiver=r"team\.ops",
            notification_reason="first notification",
            routeLabels={"a": "b"},
        )
    )
    assert event == AlertsReported(
        source="alertmanager",
        alerts=(
            ReportedAlert(
                fingerprint="0123456789abcdef",
                labels=LABELS,
                annotations={"summary": "p95 is 2 s"},
                firing=True,
                starts_at=datetime(2026, 1, 5, 9, 58, 0, 123456, tzinfo=UTC),
                ends_at=None,
                generator_url="http://prometheus:9090/graph",
            ),
        ),
        group_key='{}:{alertname="HighLatency"}',
        external_url="http://alertmanager:9093",
        truncated=3,
    )


PAST, FUTURE = "2026-01-05T09:59:00Z", "2026-01-05T10:01:00Z"

STATUSES = [
    # The alert's own status counts, whatever the body's is: mixed groups are "firing".
    ({"status": "resolved"}, "firing", False),
    ({"status": "firing"}, "resolved", True),
    # Also against its own end: m-lab's receiver documents a firing alert with an end.
    ({"status": "firing", "endsAt": PAST}, "firing", True),
    # Without one, an end that has passed.
    ({"endsAt": PAST}, "firing", False),
    ({"endsAt": "2026-01-05T10:00:00Z"}, "firing", False),
    # An end that is still to come is a guess of Alertmanager's, and then the body's word counts.
    ({"endsAt": FUTURE}, "firing", True),
    ({"endsAt": FUTURE}, "resolved", False),
    ({"endsAt": "0001-01-01T00:00:00Z"}, "resolved", False),
    # A word that is none of Alertmanager's is no word.
    ({"status": "alerting"}, "firing", True),
    ({"status": "alerting"}, "resolved", False),
    ({"status": 1}, "resolved", False),
    ({"status": None}, "resolved", False),
    # With nothing to go by, it fires: telling too much is the smaller harm.
    ({}, "odd", True),
    ({}, None, True),
    ({}, ["resolved"], True),
]


@pytest.mark.parametrize(("fields", "whole", "firing"), STATUSES)
def test_whether_an_alert_fires(fields: dict[str, Any], whole: Any, firing: bool) -> None:
    assert read_alert({"labels": LABELS, **fields}, status=whole).firing is firing


TIMES = [
    # 0 to 9 digits of a second, as Go writes them; what is finer than a microsecond is cut.
    ("2026-01-05T09:58:00Z", datetime(2026, 1, 5, 9, 58, tzinfo=UTC)),
    ("2026-01-05T09:58:00.8Z", datetime(2026, 1, 5, 9, 58, 0, 800000, tzinfo=UTC)),
    ("2026-01-05T09:58:00.80714261Z", datetime(2026, 1, 5, 9, 58, 0, 807142, tzinfo=UTC)),
    ("2026-01-05T09:58:00.999999999Z", datetime(2026, 1, 5, 9, 58, 0, 999999, tzinfo=UTC)),
    # Offsets, as Grafana writes them.
    ("2026-01-05T11:58:00.5+02:00", datetime(2026, 1, 5, 9, 58, 0, 500000, tzinfo=UTC)),
    ("2026-01-04T23:58:00-10:00", datetime(2026, 1, 5, 9, 58, tzinfo=UTC)),
    # Go's zero time is no time, in any zone.
    ("0001-01-01T00:00:00Z", None),
    ("0001-01-01T00:00:00+02:00", None),
    ("", None),
    (None, None),
]


@pytest.mark.parametrize(("text", "time"), TIMES)
def test_times_are_read_as_they_are_sent(text: Any, time: datetime | None) -> None:
    alert = read_alert({"labels": LABELS, "startsAt": text, "endsAt": text, "status": "firing"})
    assert (alert.starts_at, alert.ends_at) == (time, time)
    assert alert.starts_at is None or alert.starts_at.tzinfo is UTC
    assert alert.annotations == {}


NO_TIMES = [
    "yesterday",
    "2026-13-01T00:00:00Z",
    "2026-01-05T09:58:00",
    1767607080,
    True,
    ["x"],
    {},
    "9999-12-31T23:59:59-05:00",
]


@pytest.mark.parametrize("text", [t for t in NO_TIMES if t])
def test_a_time_that_makes_no_sense_does_not_cost_the_alert_and_shows(text: Any) -> None:
    alert = read_alert({"labels": LABELS, "startsAt": text, "annotations": {"summary": "s"}})
    assert alert.starts_at is None
    assert alert.annotations["summary"] == "s"
    assert alert.annotations[NOTE].startswith("startsAt ")


def test_version_3_has_a_number_for_a_group_key_and_no_fingerprints() -> None:
    event = read(body({"labels": LABELS}, version="3", groupKey=18446744073709551615))
    assert event.group_key == "18446744073709551615"
    assert event.alerts[0].fingerprint == fingerprint(LABELS)


@pytest.mark.parametrize("value", [None, -1, 2.5, "3", True, [], 10**30])
def test_a_count_of_truncated_alerts_that_is_none_counts_as_zero(value: Any) -> None:
    assert read(body({"labels": LABELS}, truncatedAlerts=value)).truncated in (0, 10**30)


def test_labels_with_an_empty_value_are_no_labels() -> None:
    alert = read_alert({"labels": {**LABELS, "zone": "", "rack": None}})
    assert alert.labels == LABELS
    assert alert.fingerprint == fingerprint(LABELS)


@pytest.mark.parametrize("alert", [{}, {"labels": None}, {"labels": {}}, {"status": "firing"}])
def test_an_alert_without_labels_is_taken(alert: Any) -> None:
    assert read_alert(alert).labels == {}
    assert read_alert(alert).fingerprint == fingerprint({})


SET_ASIDE = [
    ({"labels": {"foo": True}}, "alerts[1].labels.foo", "a label's value must be text, not true or false"),
    ({"labels": {"ok": "x", "foo": 5}}, "alerts[1].labels.foo", "a label's value must be text, not a number"),
    ({"labels": {"foo": {}}}, "alerts[1].labels.foo", "a label's value must be text, not an object"),
    ({"labels": ["a"]}, "alerts[1].labels", "labels must be an object, not a list"),
    ({"labels": "a=b"}, "alerts[1].labels", "labels must be an object, not text"),
    (None, "alerts[1]", "an alert must be an object, not null"),
    (7, "alerts[1]", "an alert must be an object, not a number"),
    ([], "alerts[1]", "an alert must be an object, not a list"),
    ("x", "alerts[1]", "an alert must be an object, not text"),
]


@pytest.mark.parametrize(("bad", "where", "error"), SET_ASIDE)
def test_a_bad_alert_is_set_aside_and_the_others_go_on(bad: Any, where: str, error: str) -> None:
    parsed = parse(body({"labels": LABELS}, bad, {"labels": {"alertname": "Other"}}), NOW)
    (event,) = parsed.events
    assert isinstance(event, AlertsReported)
    assert [a.labels["alertname"] for a in event.alerts] == ["HighLatency", "Other"]
    assert parsed.accepted == 2
    (part,) = parsed.set_aside
    assert (part.where, part.error, json.loads(part.raw)) == (where, error, bad)


def test_annotations_of_any_kind_become_text_and_cost_no_alert() -> None:
    alert = read_alert({"labels": LABELS, "annotations": {"a": 1.5, "b": True, "c": None, "d": {"e": ["ü"]}, "f": "x"}})
    assert alert.annotations == {"a": "1.5", "b": "true", "c": "", "d": '{"e": ["ü"]}', "f": "x"}
    assert read_alert({"labels": LABELS, "annotations": None}).annotations == {}
    assert list(read_alert({"labels": LABELS, "annotations": ["x"]}).annotations) == [NOTE]


FINGERPRINTS = [
    ("c6eadffa33fcdf37", True),
    # Trusted although it does not fit the labels: 27 of 38 in public samples do not.
    ("not-a-hash", True),
    ("x" * 128, True),
    ("x" * 129, False),
    ("", False),
    ("line\nbreak", False),
    (12345, False),
    (None, False),
    (["x"], False),
]


@pytest.mark.parametrize(("sent", "kept"), FINGERPRINTS)
def test_a_fingerprint_is_trusted_where_it_can_be_one(sent: Any, kept: bool) -> None:
    assert read_alert({"labels": LABELS, "fingerprint": sent}).fingerprint == (sent if kept else fingerprint(LABELS))


def test_two_label_sets_with_one_fingerprint_are_two_alerts() -> None:
    other = {"alertname": "Other"}
    event = read(body({"labels": LABELS, "fingerprint": "same"}, {"labels": other, "fingerprint": "same"}))
    assert [a.fingerprint for a in event.alerts] == ["same", fingerprint(other)]


def test_one_label_set_twice_stays_two_reports_in_their_order() -> None:
    event = read(
        body(
            {"labels": LABELS, "fingerprint": "f", "status": "resolved", "endsAt": PAST},
            {"labels": LABELS, "fingerprint": "f", "status": "firing"},
        )
    )
    assert [(a.fingerprint, a.firing) for a in event.alerts] == [("f", False), ("f", True)]


UNREADABLE = [
    (b"", "", "not JSON"),
    (b"hello", "", "not JSON"),
    (b'{"alerts": [', "", "not JSON"),
    (b'{"alerts": []} {}', "", "not JSON"),
    (b'{"alerts": [{"labels": {"a": NaN}}]}', "", "not JSON"),
    (b"\x1f\x8b\x08\x00", "", "not JSON"),
    (b"[]", "", "JSON object"),
    (b"null", "", "JSON object"),
    (b'"alerts"', "", "JSON object"),
    (b"{}", "alerts", "missing"),
    (b'{"alert": []}', "alerts", "missing"),
    (b'{"alerts": null}', "alerts", "list"),
    (b'{"alerts": {}}', "alerts", "list"),
    (b'{"alerts": "x"}', "alerts", "list"),
    (b'{"alerts":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "", "deeply"),
]


@pytest.mark.parametrize(("data", "where", "error"), UNREADABLE)
def test_a_body_whose_alerts_cannot_be_told_apart_is_unreadable(data: bytes, where: str, error: str) -> None:
    with pytest.raises(Unreadable, match=error) as e:
        parse(data, NOW)
    assert e.value.where == where


def test_what_is_not_unicode_becomes_the_replacement_character_as_in_go() -> None:
    labels = rb'{"a": "\ud800x\udc00", "b": "!", "c": "\ud83d\ude00", "d": "\\ud800"}'.replace(b"!", b"\xff")
    data = b'{"alerts": [{"labels": %s}]}' % labels
    (alert,) = read(data).alerts
    assert alert.labels == {"a": "\ufffdx\ufffd", "b": "\ufffd", "c": "\U0001f600", "d": "\\ud800"}
    assert read(b"\xef\xbb\xbf" + body({"labels": LABELS})).alerts[0].labels == LABELS


def test_a_number_of_any_length_costs_no_alert() -> None:
    data = b'{"alerts": [{"labels": {"a": "b"}, "values": %s, "annotations": {"n": %s}}]}' % (
        b"1" * 9000,
        b"1" * 9000,
    )
    assert read(data).alerts[0].labels == {"a": "b"}


def test_no_alerts_is_a_body_like_any_other() -> None:
    assert parse(body(), NOW) == Parsed(events=(AlertsReported(source="alertmanager", alerts=()),))


@needs_corpus
@pytest.mark.parametrize("path", WEBHOOKS, ids=lambda p: p.stem[-40:])
def test_no_alert_of_a_recorded_webhook_vanishes(path: Path) -> None:
    data = path.read_bytes()
    sent = json.loads(data)["alerts"]
    event = read(data)
    assert len(event.alerts) == len(sent)
    for alert, raw in zip(event.alerts, sent, strict=True):
        assert alert.labels == {k: v for k, v in (raw.get("labels") or {}).items() if v}
        assert NOTE not in alert.annotations
        if "status" in raw:
            assert alert.firing == (raw["status"] == "firing")
        if raw.get("startsAt"):
            assert alert.starts_at is not None
    # Copied and edited by hand, some samples give several label sets one fingerprint.
    by_identity = {alert.fingerprint: alert.labels for alert in event.alerts}
    assert all(by_identity[alert.fingerprint] == alert.labels for alert in event.alerts)
    for fp in {raw["fingerprint"] for raw in sent if raw.get("fingerprint")}:
        assert fp in by_identity


async def test_a_large_body_is_read_in_slices_and_reads_the_same() -> None:
    alerts = [{"labels": {"i": str(i)} if i % 7 else {"i": i}} for i in range(3 * SLICE + 5)]
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    parsed = await parse_in_slices(body(*alerts), NOW)
    task.cancel()
    assert parsed == parse(body(*alerts), NOW)
    assert turns >= 3


async def test_ten_thousand_alerts_let_the_loop_turn_after_every_slice() -> None:
    data = body(*({"labels": {"alertname": "A", "i": str(i)}} for i in range(10_000)))
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    assert (await parse_in_slices(data, NOW)).accepted == 10_000
    task.cancel()
    assert turns >= 10_000 // SLICE - 1


def test_a_parked_alert_is_put_back_into_a_body_like_its_own() -> None:
    original = body({"labels": {"a": 1}}, {"labels": LABELS}, status="resolved", externalURL="http://am")
    event = read(rewrap(b'{"labels": {"a": "1"}}', original))
    assert [a.labels for a in event.alerts] == [{"a": "1"}]
    assert event.external_url == "http://am"
    assert not event.alerts[0].firing
    assert read(rewrap(b'{"labels": {"a": "1"}}', b"junk")).alerts[0].labels == {"a": "1"}


def test_grafana_comes_in_by_the_same_name() -> None:
    assert SOURCES["alertmanager"] is alertmanager.parse


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(
    ["status", "labels", "annotations", "startsAt", "endsAt", "generatorURL", "fingerprint", "values"]
)
VALUES = st.sampled_from(["firing", "resolved", "", "f1", "f2", "2026-01-05T09:58:00Z", "0001-01-01T00:00:00Z"])
LABEL_SETS = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.sampled_from(["", "x", "y"]) | JSON, max_size=3)
ALERTS = st.dictionaries(NAMES, VALUES | LABEL_SETS | JSON, max_size=8) | JSON
TOP = st.dictionaries(st.sampled_from(["status", "groupKey", "externalURL", "truncatedAlerts"]), VALUES | JSON)


@given(alerts=st.lists(ALERTS, max_size=6), top=TOP)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_comes_no_alert_vanishes(alerts: list[Any], top: dict[str, Any]) -> None:
    parsed = parse(json.dumps({**top, "alerts": alerts}).encode(), NOW)
    (event,) = parsed.events
    assert isinstance(event, AlertsReported)
    assert parsed.accepted == len(event.alerts)
    assert parsed.accepted + len(parsed.set_aside) == len(alerts)
    by_identity: dict[str, Any] = {}
    for alert in event.alerts:
        assert 0 < len(alert.fingerprint) <= 128
        assert all(type(v) is str and v for v in alert.labels.values())
        assert all(type(v) is str for v in alert.annotations.values())
        for t in (alert.starts_at, alert.ends_at):
            assert t is None or t.utcoffset() == timedelta(0)
        assert by_identity.setdefault(alert.fingerprint, alert.labels) == alert.labels
    for part in parsed.set_aside:
        assert part.where.startswith("alerts[")
        assert part.error


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode) | JSON.map(lambda v: json.dumps(v).encode()))
@settings(max_examples=300, deadline=None)
def test_junk_is_unreadable_and_nothing_else(data: bytes) -> None:
    try:
        parsed = parse(data, NOW)
    except Unreadable:
        return
    assert json.loads(data)["alerts"] is not None
    assert parsed.accepted + len(parsed.set_aside) == len(json.loads(data)["alerts"])


@needs_corpus
@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_a_damaged_recording_is_read_or_refused_and_never_breaks_the_reader(data: st.DataObject) -> None:
    whole = bytearray(data.draw(st.sampled_from(WEBHOOKS)).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at : at + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    try:
        parsed = parse(bytes(whole), NOW)
    except Unreadable:
        return
    (event,) = parsed.events
    assert isinstance(event, AlertsReported)
    assert parsed.accepted == len(event.alerts)
