"""Foreign text stays harmless data, and the templates that we ship can be filled."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alertbot import render
from alertbot.domain.model import Action, AlertStatus, Hold
from alertbot.domain.reasons import Reason
from alertbot.notifiers.base import Links
from tests.notifiers.jobs import NASTY, NOW, RESOLVED, alert, incident, job


def test_every_template_that_we_ship_compiles_and_can_be_filled() -> None:
    assert render.check_templates() == []


def test_a_template_that_cannot_be_read_or_filled_is_named_with_its_line(tmp_path: Path) -> None:
    folder = tmp_path / "sms"
    folder.mkdir()
    (folder / "broken.j2").write_text("fine\n{% if %}\n")
    (folder / "misspelt.j2").write_text("{{ titel }}")
    (folder / "_part.j2").write_text("{{ only_known_to_who_includes_it }}")
    (folder / "latin.j2").write_bytes(b"\xff")
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "page.html").write_text("{{ what_the_page_gives }}")
    problems = render.check_templates(tmp_path)
    assert [p.split(" ")[0] for p in problems] == ["sms/broken.j2:2:", "sms/latin.j2:1:", "sms/misspelt.j2:1:"]
    assert "titel" in problems[2]


def test_foreign_text_is_data_and_never_a_template(tmp_path: Path) -> None:
    for name in ("x.j2", "x.html.j2"):
        (tmp_path / name).write_text("{{ title }}")
    values = render.context(job(title="{{ 7*7 }}{% include '/etc/passwd' %}<b>"))
    env = render._environment(tmp_path)
    assert env.get_template("x.j2").render(values) == "{{ 7*7 }}{% include '/etc/passwd' %}<b>"
    assert "&lt;b&gt;" in env.get_template("x.html.j2").render(values)


@pytest.mark.parametrize(
    "source",
    [
        "{{ title.__class__.__mro__ }}",  # no way from data to Python's insides
        "{{ labels.update(x=1) }}",  # what is given cannot be changed
        "{{ no_such_name }}",  # a name that is not there is an error, not an empty string
    ],
)
def test_a_template_cannot_do_what_templates_should_not(source: str, tmp_path: Path) -> None:
    (tmp_path / "sms").mkdir()
    (tmp_path / "sms" / "x.j2").write_text(source)
    assert len(render.check_templates(tmp_path)) == 1


def test_html_may_not_include_a_part_that_is_not_escaped(tmp_path: Path) -> None:
    (tmp_path / "email").mkdir()
    (tmp_path / "email" / "x.html.j2").write_text("{% include '_part.j2' %}")
    (tmp_path / "email" / "_part.j2").write_text("{{ title }}")
    (problem,) = render.check_templates(tmp_path)
    assert "would not be escaped" in problem


@given(st.text())
def test_one_line_is_one_line_without_controls_and_can_be_encoded(text: str) -> None:
    line = render.one_line(text)
    assert line.splitlines() in ([], [line])
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 or c in "\u202e\u2066\u200b" for c in line)
    assert render.one_line(line) == line
    line.encode()


@given(st.text(st.characters(codec=None)))
def test_cleaned_text_can_be_encoded_whatever_came(text: str) -> None:
    render.clean(text).encode()


def test_clean_keeps_lines_and_takes_what_would_change_their_meaning() -> None:
    assert render.clean("a\r\nb\u2028c\x1b[31m\u202ed\ud800") == "a\nb\nc[31md\ufffd"


@given(st.text(max_size=300), st.integers(0, 120))
def test_cut_never_exceeds_its_length_and_leaves_short_text_alone(text: str, length: int) -> None:
    result = render.cut(text, length)
    assert len(result) <= length
    assert (result == text) == (len(text) <= length)


def test_cut_says_how_much_is_gone() -> None:
    result = render.cut("x" * 1000, 100)
    kept = result.count("x")
    assert result.endswith(f"… ({1000 - kept} more characters)") or f"({1000 - kept} more" in result
    assert len(result) == 100


@pytest.mark.parametrize(
    ("rule", "given_", "shown"),
    [
        ("an https address is a link", "https://a.example/x?y=1#z", True),
        ("an http address too, with a port", "http://prometheus:9090/graph", True),
        ("a script is none", "javascript:alert(1)", False),
        ("a scheme of another kind is none", "file:///etc/passwd", False),
        ("a relative address leads nowhere", "/graph", False),
        ("an address without a host leads nowhere", "https://", False),
        ("a line break ends a header or a link", "https://a.example/\r\nX: y", False),
        ("markup in it could end an attribute", 'https://a.example/"><script>', False),
        ("Slack would cut at the bar", "https://a.example/|b", False),
        ("a port that is no number", "https://a.example:http/", False),
        ("an open bracket", "https://[::1", False),
        ("a direction override hides where it leads", "https://a.example/\u202egpj.exe", False),
        ("longer than any browser takes", "https://a.example/" + "x" * 3000, False),
    ],
)
def test_only_absolute_http_addresses_become_links(rule: str, given_: str, shown: bool) -> None:
    assert render.http_url(given_) == (given_ if shown else ""), rule


def test_times_are_said_in_utc_to_the_minute() -> None:
    here = timezone(timedelta(hours=5, minutes=30))
    assert render.utc(datetime(2026, 11, 21, 8, 42, 59, tzinfo=here)) == "2026-11-21 03:12 UTC"
    assert render.utc(datetime(2026, 11, 21, 3, 12, tzinfo=UTC)) == "2026-11-21 03:12 UTC"


def test_a_clock_that_runs_ahead_makes_no_negative_durations() -> None:
    assert render.ago(NOW + timedelta(minutes=5), NOW) == "just now"
    assert render.ago(NOW - timedelta(minutes=5), NOW) == "5 min ago"
    assert render.since(NOW + timedelta(minutes=5), NOW) == "0 s"


def test_an_alert_is_called_by_the_best_text_that_it_has() -> None:
    """summary, then message, title, description, then the alertname; an empty one does not count."""
    named = {"alertname": "A"}
    assert render.alert_view(alert(annotations={"summary": " ", "message": "m"}, labels=named)).summary == "m"
    assert render.alert_view(alert(annotations={"description": "d\ne"}, labels=named)).summary == "d e"
    assert render.alert_view(alert(annotations={}, labels=named)).summary == "A"
    assert render.alert_view(alert(annotations={}, labels={})).summary == "an alert without a name"


def test_lists_of_alerts_are_by_what_they_are_for_people() -> None:
    hold = Hold(Reason.INHIBITED, "deploy", NOW, NOW + timedelta(minutes=5))
    alerts = [
        alert(1),
        alert(2, status=AlertStatus.UNKNOWN),
        alert(3, hold=hold),
        alert(4, status=AlertStatus.RESOLVED, ends_at=NOW),
        alert(5, status=AlertStatus.RESOLVED, cleared=True, ends_at=NOW),
    ]
    values = render.context(job(alerts=alerts))
    assert [v.status for v in values["firing"]] == ["firing", "unknown"]
    assert [(v.held_by, v.held_until) for v in values["held"]] == [("deploy", NOW + timedelta(minutes=5))]
    assert [v.status for v in values["resolved"]] == ["resolved", "cleared"]


def test_counts_are_the_incidents_own_and_resolved_means_all() -> None:
    assert render.counts(incident([alert(1)], firing=700, held=3)) == "700 firing, 3 held"
    assert render.counts(incident([alert(1)], RESOLVED)) == "resolved"


def test_a_test_incident_says_so_and_an_empty_title_is_replaced() -> None:
    assert render.title(incident([], test=True)) == "[TEST] HighErrorRate prod"
    assert render.title(incident([], title=" \x00")) == "incident i1"


def test_links_that_are_not_addresses_are_left_out() -> None:
    links = Links(incident="https://a.example/", graph="javascript:alert(1)", runbook=NASTY)
    assert render.context(job(links=links))["links"] == Links(incident="https://a.example/")


def test_nothing_that_templates_name_first_can_break_a_line_or_hide_text() -> None:
    nasty = alert(1, labels={NASTY: NASTY}, annotations={"summary": NASTY})
    values = render.context(
        replace(job(alerts=[nasty], title=NASTY, severity=NASTY, acknowledged_by=NASTY, labels={NASTY: NASTY}))
    )
    view = values["firing"][0]
    lines = [values["title"], values["severity"], values["acknowledged_by"], view.summary]
    lines += [*values["labels"], *values["labels"].values(), *view.labels, *view.labels.values()]
    for line in lines:
        assert len(line.splitlines()) == 1
        assert not set(line) & set("\x00\x1b\u202e\u2066\ud800")


def test_samples_try_every_action() -> None:
    assert {j.action for j in render.sample_jobs()} == set(Action)


NUMBERS = [(0.0, "0"), (0.073149, "0.0731"), (7, "7"), (42.42, "42.4"), (999.6, "1000"), (1234, "1.23k"),
           (123456, "123k"), (-5e6, "-5M"), (2.5e9, "2.5G"), (1e13, "10T"), (1e-9, "1e-09")]  # fmt: skip


@pytest.mark.parametrize(("value", "shown"), NUMBERS)
def test_a_measured_number_has_three_digits(value: float, shown: str) -> None:
    assert render.number(value) == shown


LEFT = [
    (1.0, "100 % left"),
    (0.344, "34 % left"),
    (0.0, "none left"),
    (0.001, "none left"),
    (-1.8, "none left, 180 % overspent"),
]


@pytest.mark.parametrize(("share", "words"), LEFT)
def test_what_is_left_of_a_budget_is_said_in_words(share: float, words: str) -> None:
    assert render.left(share) == words


SPANS = [
    ("what stands in back-quotes is code", "Run `a <b>` & look", "Run <code>a &lt;b&gt;</code> &amp; look"),
    ("a single back-quote is a back-quote", "it`s <i>", "it`s &lt;i&gt;"),
    ("nothing to mark", "Look.", "Look."),
]


@pytest.mark.parametrize(("rule", "text", "html"), SPANS, ids=[s[0] for s in SPANS])
def test_code_in_a_line_is_marked_and_nothing_in_it_is_html(rule: str, text: str, html: str) -> None:
    assert render.code_spans(text) == html, rule


WAYS = [
    ("the runbook first, the incident last", Links(incident="https://i/", runbook="https://r/", silence="https://s/"),
     [("Logs", "https://l/")], ["Runbook https://r/", "Logs https://l/", "Silence https://s/", "Incident https://i/"]),
    ("a configured link fills in for one of ours", Links(incident="https://i/"),
     [("dashboard", "https://d/"), ("Silence", "https://s/")],
     ["Dashboard https://d/", "Silence https://s/", "Incident https://i/"]),
    ("what the alert says itself comes first", Links(dashboard="https://own/"),
     [("Dashboard", "https://d/")], ["Dashboard https://own/"]),
    ("what is no address is left out", Links(runbook="javascript:x"), [("Logs", "ftp://x/"), ("Trace", "")], []),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "links", "more", "shown"), WAYS, ids=[w[0] for w in WAYS])
def test_the_ways_on_stand_in_order_each_once(
    rule: str, links: Links, more: list[tuple[str, str]], shown: list[str]
) -> None:
    assert [f"{name} {url}" for name, url in render.ways(links, more)] == shown, rule
