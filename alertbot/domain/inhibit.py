"""Holding an alert because of another one, a deploy or a maintenance: `inhibit_rules` with Alertmanager's meaning for
alerts as sources, windows as sources besides, and a length of our own for both.

A relation is one rule with one set of values of its `equal` labels. A firing alert is a source in the relations whose
`source_matchers` it matches; a target looks up the relations whose `target_matchers` it matches.

Alertmanager's rules (inhibit/inhibit.go): a missing `equal` label is the empty string, so two that lack it are equal;
where the target matches the source side too, sources that match the target side do not count (so that no
alert holds itself); a source that is itself held still holds.

A window (`alertbot.domain.windows`) is a source by its labels as they are; `equal` compares them with what an alert's
own labels say, through `deploys.labels`. A deploy holds nothing that fired before it, nor what people know of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Protocol

from alertbot.domain.matchers import matches_all
from alertbot.domain.model import Alert, Hold
from alertbot.domain.policy import InhibitRule, Policy
from alertbot.domain.reasons import Reason
from alertbot.domain.windows import Window, WindowKind


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


class Sources(Protocol):
    """What may hold an alert."""

    def sources(self, relation: str) -> Sequence[SourceLike]:
        """The firing alerts on the source side of a relation, the earliest first."""

    def windows(self) -> Sequence[Window]:
        """The deploys and maintenance windows that are not over, the earliest first."""


def hold_for(policy: Policy, alert: Alert, sources: Sources, now: datetime, before: Hold | None) -> Hold | None:
    """The hold that an alert is under at `now`, or None.

    Where several rules hold it, the one that ends last is named (one without an end before all), and the windows of
    all of them. `before` is the hold it was under: sources that take over from one another do not start a rule's
    `duration` anew.
    """
    best: Hold | None = None
    explained: dict[str, None] = {}
    for rule, name in target_of(policy, alert.labels):
        own_source = matches_all(rule.source_matchers, alert.labels)
        alerts = [s for s in sources.sources(name) if not (own_source and s.two_sided)]
        windows = [w for w in sources.windows() if explains(policy, w, rule, alert)]
        if not alerts and not windows:
            continue
        since = min([*(s.starts_at for s in alerts), *(w.starts_at for w in windows)])
        if before is not None and (before.by, before.muted) == (rule.name, False):
            since = min(since, before.since)
        ends = [] if alerts else [max(w.ends_at for w in windows)]
        if rule.duration is not None:
            ends.append(since + rule.duration)
            if ends[-1] <= now:
                continue
        until = min(ends, default=None)
        explained |= dict.fromkeys(w.id for w in windows)
        if best is None or (best.until is not None and (until is None or until > best.until)):
            reason = Reason.INHIBITED if alerts else _REASONS[max(windows, key=lambda w: w.ends_at).kind]
            ids = tuple(s.identity for s in alerts)
            best = Hold(reason, rule.name, since, until, ids, name if alerts else None)
    return best if best is None or not explained else replace(best, windows=tuple(explained))


def explains(policy: Policy, window: Window, rule: InhibitRule, alert: Alert) -> bool:
    """Whether a window is a source of a rule for an alert that the rule's target side matches."""
    if window.kind is WindowKind.DEPLOY and (alert.announced or alert.starts_at < window.starts_at):
        return False
    naming = policy.deploys.naming
    return matches_all(rule.source_matchers, window.labels) and all(
        naming.agree(name, window.labels, alert.labels) for name in rule.equal
    )


_REASONS: Final = {
    WindowKind.DEPLOY: Reason.HELD_BY_DEPLOY,
    WindowKind.MAINTENANCE: Reason.HELD_BY_MAINTENANCE,
}
