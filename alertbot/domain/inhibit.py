"""Holding one alert because of another: `inhibit_rules` with Alertmanager's meaning, and a length of our own.

A relation is one rule with one set of values of its `equal` labels. A firing alert is a source in the relations whose
`source_matchers` it matches; a target looks up the relations whose `target_matchers` it matches.

Alertmanager's rules (inhibit/inhibit.go): a missing `equal` label is the empty string, so two that lack it are equal;
where the target matches the source side too, sources that match the target side do not count (so that no
alert holds itself); a source that is itself held still holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from alertbot.domain.matchers import matches_all
from alertbot.domain.model import Hold
from alertbot.domain.policy import InhibitRule, Policy
from alertbot.domain.reasons import Reason


class SourceLike(Protocol):
    """What of a source a decision looks at."""

    @property
    def identity(self) -> str: ...
    @property
    def starts_at(self) -> datetime: ...
    @property
    def two_sided(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Sides:
    """The relations that an alert is a source in, and those of them that it is a target of too."""

    source_of: tuple[str, ...] = ()
    two_sided: tuple[str, ...] = ()


def relation(rule: InhibitRule, labels: Mapping[str, str]) -> str:
    """The name of the relation that these labels belong to under a rule."""
    return "\x1f".join((rule.name, *(_escaped(labels.get(name, "")) for name in rule.equal)))


def _escaped(value: str) -> str:
    """Control characters do occur in label values: two sets of values must not come out as one name."""
    return value.replace("\\", "\\\\").replace("\x1f", "\\s") if "\x1f" in value or "\\" in value else value


def sides(policy: Policy, labels: Mapping[str, str]) -> Sides:
    """Where an alert with these labels is a source."""
    found: list[str] = []
    both: list[str] = []
    for rule in policy.inhibit_rules:
        if matches_all(rule.source_matchers, labels):
            name = relation(rule, labels)
            found.append(name)
            if matches_all(rule.target_matchers, labels):
                both.append(name)
    return Sides(tuple(found), tuple(both))


def target_of(policy: Policy, labels: Mapping[str, str]) -> list[tuple[InhibitRule, str]]:
    """The rules that may hold an alert with these labels, each with its relation."""
    return [
        (rule, relation(rule, labels)) for rule in policy.inhibit_rules if matches_all(rule.target_matchers, labels)
    ]


def hold_for(
    policy: Policy,
    labels: Mapping[str, str],
    sources: Callable[[str], Sequence[SourceLike]],
    now: datetime,
    before: Hold | None,
) -> Hold | None:
    """The hold that an alert is under at `now`, or None.

    `sources` gives the firing sources of a relation. Where several rules hold it, the one that ends last is
    named (one without an end before all). `before` is the hold it was under: sources that take over from one
    another do not start a rule's `duration` anew.
    """
    best: Hold | None = None
    for rule, name in target_of(policy, labels):
        own_source = matches_all(rule.source_matchers, labels)
        holding = [s for s in sources(name) if not (own_source and s.two_sided)]
        if not holding:
            continue
        since = min(s.starts_at for s in holding)
        if before is not None and before.relation == name:
            since = min(since, before.since)
        until = None if rule.duration is None else since + rule.duration
        if until is not None and until <= now:
            continue
        if best is None or (best.until is not None and (until is None or until > best.until)):
            ids = tuple(s.identity for s in holding)
            best = Hold(Reason.INHIBITED, rule.name, since, until, ids, name)
    return best
