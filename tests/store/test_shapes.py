"""What is stored may change only so that versions of one schema number can share a store (docs/adr/0018)."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from alertbot.domain.explain import sentence
from alertbot.domain.model import Entry
from alertbot.domain.reasons import Reason
from alertbot.store import codec
from alertbot.store.redis_schema import SCHEMA
from tests.store.builders import incident
from tests.store.shapes import RULE, Shapes, file_of, layout, problems, shapes


def recorded(number: int) -> Shapes:
    found: Shapes = json.loads(file_of(number).read_text())
    return found


async def test_what_is_stored_is_what_is_recorded_of_this_schema_number(redis_url: Callable[[], str]) -> None:
    new, old = {**shapes(), "layout": await layout(redis_url())}, recorded(SCHEMA.number)
    assert problems(old, new) == [], RULE
    assert new == old, "versions can share a store still; record it: python -m tests.store.shapes"


def test_what_an_older_version_must_not_read_has_a_new_number_in_both_stores() -> None:
    for number in range(2, SCHEMA.number + 1):
        old, new = recorded(number - 1), recorded(number)
        assert new["sqlite"] > old["sqlite"], "an older version must not open the file either"


def test_every_number_can_be_reached_from_the_one_before() -> None:
    assert set(SCHEMA.migrations) == set(range(2, SCHEMA.number + 1))


OLD: Shapes = {
    "documents": {"Alert": {"id": "str", "at": "datetime | None = None"}},
    "values": {"Reason": ["new"], "AlertStatus": ["firing"]},
    "layout": {"alerts": ["a"]},
}


def changed(part: str, name: str, value: Any) -> Shapes:
    found = copy.deepcopy(OLD)
    if isinstance(found[part][name], dict):
        found[part][name] |= value
    else:
        found[part][name] = value
    return found


RULES = [
    # The same.
    (OLD, ""),
    # A field with a default is absent in older documents, and dropped by older versions.
    (changed("documents", "Alert", {"by": "str = ''"}), ""),
    # A field without one makes older documents unreadable.
    (changed("documents", "Alert", {"by": "str"}), "Alert.by is new and has no default"),
    # Of another type or default: the one version reads what the other did not mean.
    (changed("documents", "Alert", {"id": "int"}), "Alert.id was str, and is int"),
    (changed("documents", "Alert", {"at": "datetime"}), "Alert.at was datetime | None = None, and is datetime"),
    # A field, or a whole document, that is gone.
    ({**OLD, "documents": {}}, "Alert.id was str, and is gone"),
    # A document in a new field is as harmless as that.
    ({**OLD, "documents": {**OLD["documents"], "Part": {"id": "str"}}}, ""),
    # Older versions keep a reason that they do not know, and no other value.
    (changed("values", "Reason", ["new", "newer"]), ""),
    (changed("values", "Reason", []), "Reason has no 'new' any more"),
    (changed("values", "AlertStatus", ["firing", "asleep"]), "AlertStatus has 'asleep'"),
    # An index that older versions do not write to.
    (changed("layout", "alerts", ["a", "b"]), "things lie elsewhere"),
]


@pytest.mark.parametrize(("new", "problem"), RULES)
def test_a_change_that_versions_cannot_share_is_named(new: Shapes, problem: str) -> None:
    found = problems(OLD, new)
    assert len(found) == (2 if problem.endswith("gone") else bool(problem))
    assert all(problem in line for line in found[:1])


def test_what_a_newer_version_wrote_is_read_without_what_is_not_known_here() -> None:
    newer = codec.text(incident()).replace("{", '{"later":{"x":1},', 1)
    assert codec.incident.decode(newer) == incident()


def test_a_reason_of_a_newer_version_is_kept_as_it_is() -> None:
    text = b'{"at":"2026-01-05T10:00:00Z","kind":"alert","reason":"eclipsed"}'
    found = codec.entry.decode(text)
    assert found.reason == "eclipsed"
    assert found.reason not in set(Reason)
    assert msgspec.json.decode(codec.text(found), type=Entry) == found
    assert "eclipsed" in sentence(found)
