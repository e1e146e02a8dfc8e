"""What is known of a deploy after what its senders said: each rule, by its name."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alertbot.domain.deploy_reports import heard
from alertbot.domain.deploys import (
    Deploy,
    DeployKind,
    DeployReport,
    DeploySettings,
    DeployStatus,
    end_missing,
    ends_at,
    going_on,
    source_labels,
    suspects,
)
from alertbot.domain.reasons import Reason

T0 = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
SETTINGS = DeploySettings()


def minute(n: float) -> datetime:
    return T0 + timedelta(minutes=n)


def report(status: str, version: str = "v2", **more: Any) -> DeployReport:
    """A report of our own API of checkout in prod; `id` makes the name, `at` is in minutes."""
    ident = more.get("id", "")
    if isinstance(more.get("at"), int | float):
        more["at"] = minute(more["at"])
    named = {"name": f"api:{ident}"} if ident else {}
    base: dict[str, Any] = {"source": "api", "service": "checkout", "environment": "prod", "version": version}
    return DeployReport(status=DeployStatus(status), **{**base, **named, **more})


def other(kind: str, ident: str, status: str, **more: Any) -> DeployReport:
    """A report of another sender, with its own name for the deploy."""
    return report(status, source=kind, name=f"{kind}:{ident}", guessed=frozenset({"version"}), **more)


def told(said: list[tuple[float, DeployReport]], known: list[Deploy] | None = None) -> list[Deploy]:
    """The deploys known after reports heard at these minutes, in the order of their starts."""
    deploys = {d.id: d for d in known or []}
    for at, one in said:
        deploys |= {d.id: d for d in heard(list(deploys.values()), one, minute(at), SETTINGS).deploys}
    return sorted(deploys.values(), key=lambda d: (d.started_at, d.heard_at))


@dataclass(frozen=True)
class Row:
    """Reports by the minute they are heard at, and for each deploy: status, start, end, when it stops to go on."""

    rule: str
    said: list[tuple[float, DeployReport]]
    expected: list[tuple[str, float, float | None, float]]
    kinds: list[str] = field(default_factory=list)


SHA = "f95f852bd8fca8fcc58a9a2d6c842781e32a215e"

ROWS = [
    Row(
        "a success counts as going on for settle",
        [(0, report("started", id="d1")), (4, report("succeeded", id="d1"))],
        [("succeeded", 0, 4, 9)],
    ),
    Row(
        "a failure ends at once",
        [(0, report("started", id="d1")), (4, report("failed", id="d1"))],
        [("failed", 0, 4, 4)],
    ),
    Row("a missing end: max_duration after the start, no settle", [(0, report("started"))], [("started", 0, None, 30)]),
    Row(
        "an end in time, settling past max_duration",
        [(0, report("started", id="d1")), (29, report("succeeded", id="d1"))],
        [("succeeded", 0, 29, 34)],
    ),
    Row(
        "an end after max_duration is recorded, and brings nothing back",
        [(0, report("started", id="d1")), (45, report("succeeded", id="d1"))],
        [("succeeded", 0, 45, 30)],
    ),
    Row(
        "without an id: the unfinished deploy of its service, environment and version",
        [(0, report("started")), (4, report("succeeded"))],
        [("succeeded", 0, 4, 9)],
    ),
    Row(
        "an end without id or version: the newest that is unfinished",
        [(0, report("started", "v2")), (1, report("started", "v3")), (4, report("failed", ""))],
        [("started", 0, None, 30), ("failed", 1, 4, 4)],
    ),
    Row(
        "a start told twice without an id is one deploy",
        [(0, report("started")), (1, report("started")), (4, report("succeeded")), (5, report("succeeded"))],
        [("succeeded", 0, 4, 9)],
    ),
    Row(
        "an end before its start: the end counts, and the start says since when",
        [(5, report("succeeded", id="d1", at=4)), (6, report("started", id="d1", at=0))],
        [("succeeded", 0, 4, 9)],
    ),
    Row(
        "an end before its start, without times: the start is late, and changes nothing",
        [(5, report("failed", id="d1")), (6, report("started", id="d1"))],
        [("failed", 6, 6, 6)],
    ),
    Row(
        "an end before its start, without id or times",
        [(5, report("succeeded")), (6, report("started"))],
        [("succeeded", 6, 6, 11)],
    ),
    Row(
        "an end whose start never came",
        [(5, report("succeeded", id="d1"))],
        [("succeeded", 5, 5, 10)],
    ),
    Row(
        "overlapping deploys of one service stay apart, and each ends by itself",
        [
            (0, report("started", "v2", id="d1")),
            (3, report("started", "v3", id="d2")),
            (5, report("failed", "v3", id="d2")),
            (7, report("succeeded", "v2", id="d1")),
        ],
        [("succeeded", 0, 7, 12), ("failed", 3, 5, 5)],
    ),
    Row(
        "two environments are two deploys",
        [(0, report("started")), (0, report("started", environment="beta")), (4, report("failed", environment="beta"))],
        [("started", 0, None, 30), ("failed", 0, 4, 4)],
    ),
    Row(
        "a redeploy of the same version is a deploy of its own",
        [
            (0, report("started", id="d1")),
            (4, report("succeeded", id="d1")),
            (60, report("started", id="d2")),
            (64, report("succeeded", id="d2")),
        ],
        [("succeeded", 0, 4, 9), ("succeeded", 60, 64, 69)],
        ["deploy", "redeploy"],
    ),
    Row(
        "a redeploy of the same version without ids",
        [(0, report("started")), (4, report("succeeded")), (60, report("started"))],
        [("succeeded", 0, 4, 9), ("started", 60, None, 90)],
        ["deploy", "redeploy"],
    ),
    Row(
        "a rollback goes to a version from before the present one",
        [
            (0, report("started", "v1", id="d1")),
            (4, report("succeeded", "v1", id="d1")),
            (60, report("started", "v2", id="d2")),
            (64, report("succeeded", "v2", id="d2")),
            (70, report("started", "v1", id="d3")),
            (72, report("succeeded", "v1", id="d3")),
        ],
        [("succeeded", 0, 4, 9), ("succeeded", 60, 64, 69), ("succeeded", 70, 72, 77)],
        ["deploy", "deploy", "rollback"],
    ),
    Row(
        "back from a failed deploy is a redeploy of what is there",
        [
            (0, report("started", "v1", id="d1")),
            (4, report("succeeded", "v1", id="d1")),
            (60, report("started", "v2", id="d2")),
            (64, report("failed", "v2", id="d2")),
            (70, report("started", "v1", id="d3")),
        ],
        [("succeeded", 0, 4, 9), ("failed", 60, 64, 64), ("started", 70, None, 100)],
        ["deploy", "deploy", "redeploy"],
    ),
    Row(
        "the sender may call it a rollback",
        [(0, report("started", kind=DeployKind.ROLLBACK, id="d1")), (4, report("succeeded", id="d1"))],
        [("succeeded", 0, 4, 9)],
        ["rollback"],
    ),
    Row(
        "an id that is used again for another version is another deploy",
        [
            (0, report("started", "v2", id="d1")),
            (4, report("succeeded", "v2", id="d1")),
            (9, report("started", "v3", id="d1")),
            (12, report("failed", "v3", id="d1")),
        ],
        [("succeeded", 0, 4, 9), ("failed", 9, 12, 12)],
    ),
    Row(
        "a start later than the end of the same id is its next try",
        [
            (0, report("started", id="d1", at=0)),
            (4, report("failed", id="d1", at=4)),
            (9, report("started", id="d1", at=9)),
        ],
        [("started", 9, None, 39)],
    ),
    Row(
        "the end of an earlier try does not end the next",
        [
            (0, report("started", id="d1", at=0)),
            (9, report("started", id="d1", at=9)),
            (10, report("failed", id="d1", at=4)),
        ],
        [("started", 0, None, 30)],
    ),
    Row(
        "clocks: a time in the future is when we heard it",
        [(0, report("started", id="d1", at=600)), (4, report("succeeded", id="d1", at=604))],
        [("succeeded", 0, 4, 9)],
    ),
    Row(
        "clocks: in the future and out of order, the sender's own times tell the order",
        [(4, report("succeeded", id="d1", at=604)), (5, report("started", id="d1", at=600))],
        [("succeeded", 5, 5, 10)],
    ),
    Row(
        "clocks: the far past is max_duration and lookback before we heard it",
        [(0, report("started", id="d1", at=-1_000_000))],
        [("started", -150, None, -120)],
    ),
    Row(
        "clocks: no end is before its start",
        [(0, report("started", id="d1")), (4, report("succeeded", id="d1", at=-90))],
        [("succeeded", 0, 0, 5)],
    ),
    Row(
        "a success that turns into a failure while it settles is a failure",
        [(0, report("started", id="d1")), (4, report("succeeded", id="d1")), (7, report("failed", id="d1"))],
        [("failed", 0, 7, 7)],
    ),
    Row(
        "a failure after it settled is for alerts to tell",
        [(0, report("started", id="d1")), (4, report("succeeded", id="d1")), (60, report("failed", id="d1"))],
        [("succeeded", 0, 4, 9)],
    ),
    Row(
        "what waits does not go on, and starts when its wait is over",
        [
            (0, report("requested", id="d1", at=0)),
            (1, report("waiting", id="d1", at=1)),
            (90, report("started", id="d1", at=90)),
        ],
        [("started", 90, None, 120)],
    ),
    Row(
        "what waits",
        [(0, report("requested", id="d1", at=0)), (1, report("waiting", id="d1", at=1))],
        [("waiting", 1, None, 1)],
    ),
    Row(
        "a pipeline and a webhook that tell of one commit tell of one deploy",
        [
            (0, report("started", SHA[:7], id="d1")),
            (1, other("vercel", "dpl", "started", version=SHA[:7], commit=SHA, environment="Production")),
            (4, other("vercel", "dpl", "succeeded", version=SHA[:7], commit=SHA, environment="Production")),
            (4.5, report("succeeded", SHA[:7], id="d1")),
        ],
        [("succeeded", 0, 4.5, 9.5)],
    ),
    Row(
        "one commit deployed to two services is two deploys",
        [
            (0, other("railway", "r", "started", service="api", commit=SHA)),
            (0, other("vercel", "v", "started", service="web", commit=SHA)),
        ],
        [("started", 0, None, 30), ("started", 0, None, 30)],
    ),
    Row(
        "one commit deployed again an hour later by another sender is another deploy",
        [(0, other("railway", "r", "started", commit=SHA)), (60, other("vercel", "v", "started", commit=SHA))],
        [("started", 0, None, 30), ("started", 60, None, 90)],
    ),
    Row(
        "versions that are no commits tie nothing together",
        [(0, report("started", "v2", id="d1")), (1, other("vercel", "v", "started"))],
        [("started", 0, None, 30), ("started", 1, None, 31)],
    ),
    Row(
        "a run that is no deploy opens none",
        [(0, other("github_run", "1", "started", run="github_run:1", joins_only=True))],
        [],
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda r: r.rule)
def test_deploys(row: Row) -> None:
    deploys = told(row.said)
    outcome = [(d.status.value, d.started_at, d.ended_at, ends_at(d, SETTINGS)) for d in deploys]
    assert outcome == [
        (status, minute(start), None if end is None else minute(end), minute(until))
        for status, start, end, until in row.expected
    ]
    if row.kinds:
        assert [d.kind.value for d in deploys] == row.kinds
    assert len({d.id for d in deploys}) == len(deploys)


@pytest.mark.parametrize("row", ROWS, ids=lambda r: r.rule)
def test_every_report_told_again_at_the_end_changes_nothing(row: Row) -> None:
    named = [(at, one) for at, one in row.said if one.name and one.at is not None]
    once = told(row.said)
    last = row.said[-1][0]
    assert told([(last, one) for _, one in named], once) == once


REASONS = [
    # What a report came to, one after the other.
    (report("started", id="d1"), Reason.DEPLOY_STARTED),
    (report("started", id="d1"), Reason.DEPLOY_HEARD_AGAIN),
    (report("started", id="d1", author="ana"), Reason.DEPLOY_UPDATED),
    (report("succeeded", id="d1", at=5), Reason.DEPLOY_ENDED),
    (report("succeeded", id="d1", at=5), Reason.DEPLOY_HEARD_AGAIN),
    (report("started", id="d1", at=9), Reason.DEPLOY_RETRIED),
    (report("failed", id="d1", at=10), Reason.DEPLOY_ENDED),
    (report("succeeded", id="d9"), Reason.DEPLOY_ENDED),
    (other("github_run", "1", "failed", run="github_run:1", joins_only=True), Reason.NO_DEPLOY),
]


def test_each_report_has_a_reason() -> None:
    known: dict[str, Deploy] = {}
    for one, reason in REASONS:
        result = heard(list(known.values()), one, minute(10), SETTINGS)
        assert result.reason is reason, one
        known |= {d.id: d for d in result.deploys}
    assert set(known) == {"d1", "d9"}


def test_going_on_is_from_the_start_until_before_the_end() -> None:
    (deploy,) = told([(0, report("started", id="d1")), (4, report("succeeded", id="d1"))])
    assert [going_on(deploy, minute(m), SETTINGS) for m in (-0.1, 0, 4, 8.9, 9)] == [False, True, True, True, False]
    assert not end_missing(deploy, SETTINGS)


def test_an_end_that_never_came_is_said_to_be_missing() -> None:
    (deploy,) = told([(0, report("started", id="d1"))])
    assert end_missing(deploy, SETTINGS)
    (late,) = told([(45, report("succeeded", id="d1"))], [deploy])
    assert end_missing(late, SETTINGS)


def test_an_earlier_try_and_the_next_are_two_sources() -> None:
    first = told([(0, report("started", id="d1", at=0)), (4, report("failed", id="d1", at=4))])
    (again,) = told([(9, report("started", id="d1", at=9))], first)
    assert (first[0].identity, again.identity) == ("d1", "d1.2")
    assert (again.id, again.first_started_at) == ("d1", T0)


def test_what_was_guessed_gives_way_to_what_is_said() -> None:
    run = DeployReport(
        source="github",
        status=DeployStatus.STARTED,
        service="shop",
        environment="prod",
        name="github_run:1",
        run="github_run:1",
        guessed=frozenset({"service", "environment"}),
    )
    known = told([(0, run)])
    named = report("started", run="github_run:1", name="github_deployment:2", source="github", environment="production")
    (deploy,) = told([(1, named)], known)
    assert (deploy.service, deploy.environment, deploy.version) == ("checkout", "production", "v2")
    assert deploy.guessed == frozenset()


def test_the_diff_is_to_the_commit_that_was_there_before() -> None:
    diff = "https://example.org/compare/{previous}...b"
    (first,) = told([(0, report("started", "v1", id="d1", commit="aaaaaaa1")), (4, report("succeeded", "v1", id="d1"))])
    assert first.compare_url == ""
    (_, second) = told([(60, report("started", id="d2", commit="bbbbbbb2", diff_url=diff))], [first])
    assert (second.previous_version, second.compare_url) == ("v1", "https://example.org/compare/aaaaaaa1...b")
    # A redeploy has no difference; a ready-made link is taken as it is.
    (_, same) = told([(60, report("started", id="d2", commit="aaaaaaa1", diff_url=diff))], [first])
    assert same.compare_url == ""
    (_, ready) = told([(60, report("started", id="d2", diff_url="https://example.org/d"))], [first])
    assert ready.compare_url == "https://example.org/d"


def test_a_deploy_is_matched_by_its_own_labels_before_those_reported() -> None:
    labels = {"team": "pay", "alertname": "x", "service": "other", "version": "other"}
    (deploy,) = told([(0, report("started", "", id="d1", labels=labels))])
    assert source_labels(deploy) == {
        "alertname": "Deployment",
        "service": "checkout",
        "environment": "prod",
        "version": "other",
        "team": "pay",
    }


SUSPECT = [
    # (what the alert says, minute it started at, the deploys' ids in order)
    ("its service and environment", {"service": "checkout", "environment": "prod"}, 10, ["own", "before"]),
    ("through deploys.labels", {"app": "checkout", "env": "prod"}, 10, ["own", "before"]),
    ("the first of these labels that it has counts", {"service": "x", "job": "checkout"}, 10, []),
    ("upper and lower case are one", {"service": "Checkout"}, 10, ["own", "before"]),
    ("only its environment", {"environment": "prod"}, 10, ["own", "web", "before"]),
    ("label overlap decides between two", {"environment": "prod", "team": "web"}, 10, ["web", "own", "before"]),
    ("another service", {"service": "billing", "environment": "prod"}, 10, []),
    ("another environment", {"service": "checkout", "environment": "beta"}, 10, []),
    ("neither service nor environment", {"team": "pay"}, 10, []),
    ("before any of them started", {"service": "checkout"}, -100, []),
    ("at the last moment of lookback", {"service": "checkout"}, 129, ["own"]),
    ("after lookback", {"service": "checkout"}, 129.1, []),
]


@pytest.mark.parametrize(("rule", "labels", "at", "ids"), SUSPECT, ids=[row[0] for row in SUSPECT])
def test_suspects(rule: str, labels: dict[str, str], at: float, ids: list[str]) -> None:
    deploys = told(
        [
            (-60, report("started", "v1", id="before", labels={"team": "pay"})),
            (-50, report("succeeded", "v1", id="before")),
            (0, report("started", id="own", labels={"team": "pay"})),
            (1, report("started", id="web", service="web", labels={"team": "web"})),
            (3, report("succeeded", id="web", service="web")),
            (4, report("succeeded", id="own")),
            (5, report("waiting", id="waits", version="v9")),
        ]
    )
    found = suspects(deploys, labels, minute(at), SETTINGS)
    assert [s.deploy.id for s in found] == ids
    assert all(0 <= s.score <= 2 and s.after >= timedelta(0) for s in found)


def test_reports_of_one_deploy_come_to_the_same_in_every_order() -> None:
    said = [
        report("requested", id="d1", at=0),
        report("waiting", id="d1", at=1),
        report("started", id="d1", at=2),
        report("started", id="d1", at=3),
        report("succeeded", id="d1", at=5),
    ]
    for order in permutations(said):
        (deploy,) = told([(6, one) for one in order])
        assert (deploy.status, deploy.started_at, deploy.ended_at) == (
            DeployStatus.SUCCEEDED,
            minute(2),
            minute(5),
        )
        assert (deploy.attempt, deploy.id, deploy.kind) == (1, "d1", DeployKind.DEPLOY)


_reports = st.builds(
    report,
    st.sampled_from([s.value for s in DeployStatus]),
    st.sampled_from(["v1", "v2", ""]),
    id=st.sampled_from(["", "d1", "d2"]),
    at=st.one_of(st.none(), st.integers(-500, 500)),
    environment=st.sampled_from(["prod", "beta", ""]),
    run=st.sampled_from(["", "github_run:1", "github_run:2"]),
    attempt=st.integers(0, 3),
    commit=st.sampled_from(["", SHA, SHA[:8]]),
    joins_only=st.booleans(),
)


@given(st.lists(st.tuples(st.integers(0, 20), _reports), max_size=12))
def test_whatever_is_said_every_deploy_ends_and_its_times_make_sense(said: list[tuple[int, DeployReport]]) -> None:
    known: dict[str, Deploy] = {}
    now = 0
    for step, one in said:
        now += step
        result = heard(list(known.values()), one, minute(now), SETTINGS)
        assert bool(result.deploys) is (result.reason is not Reason.NO_DEPLOY)
        assert len({d.id for d in result.deploys}) == len(result.deploys)
        # The same input, the same answer.
        assert heard(list(known.values()), one, minute(now), SETTINGS) == result
        known |= {d.id: d for d in result.deploys}
        for deploy in known.values():
            assert deploy.first_started_at <= deploy.started_at <= minute(now)
            assert deploy.started_at >= minute(-500) - SETTINGS.max_duration - SETTINGS.lookback
            assert deploy.status.ended is (deploy.ended_at is not None)
            assert deploy.ended_at is None or deploy.started_at <= deploy.ended_at <= minute(now)
            limit = SETTINGS.max_duration + SETTINGS.settle
            assert deploy.started_at <= ends_at(deploy, SETTINGS) <= deploy.started_at + limit
            assert not going_on(deploy, deploy.started_at + limit, SETTINGS)
