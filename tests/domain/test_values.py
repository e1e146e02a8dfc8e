"""`copied` is `dataclasses.replace`, faster."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass, field, fields, replace
from datetime import timedelta

import pytest

from alertbot.domain.model import Alert, AlertStatus
from alertbot.domain.values import copied
from tests.domain.script import START


@dataclass(frozen=True, slots=True)
class Pair:
    left: int
    right: list[int] = field(default_factory=list)


def known() -> Alert:
    """An alert of which no field has its default."""
    return Alert(
        incident="i", identity="a", fingerprint="f", labels={"alertname": "Down"}, annotations={"summary": "s"},
        severity="high", status=AlertStatus.FIRING, starts_at=START, changed_at=START, seen_at=START,
        ends_at=START + timedelta(minutes=1), generator_url="http://g", source="alertmanager", group_key="{}:{}",
        external_url="http://am", settled=True, announced=True, source_of=("rule",), two_sided=("rule",),
    )  # fmt: skip


def test_a_copy_has_the_changes_and_for_the_rest_what_the_original_has() -> None:
    later = START + timedelta(hours=1)
    changes = {"seen_at": later, "status": AlertStatus.RESOLVED, "annotations": {}}
    copy = copied(known(), **changes)
    assert copy == replace(known(), **changes)  # type: ignore[arg-type]  # by name
    assert [f.name for f in fields(Alert) if getattr(copy, f.name) != getattr(known(), f.name)] == [
        f.name for f in fields(Alert) if f.name in changes
    ]


def test_the_original_is_as_it_was_and_both_stay_frozen() -> None:
    one = Pair(1, [2])
    other = copied(one, left=3)
    assert (one, other) == (Pair(1, [2]), Pair(3, [2]))
    assert other.right is one.right
    with pytest.raises(FrozenInstanceError):
        other.left = 4  # type: ignore[misc]  # that is what is tested


def test_a_field_that_there_is_not_is_refused() -> None:
    with pytest.raises(KeyError):
        copied(Pair(1), middle=2)
