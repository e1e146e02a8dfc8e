"""The route tree: which receivers take a label set, and into which incident it goes.

The rules are Alertmanager's (dispatch/route.go): a child inherits what it does not set; the children are tried in
order; the first that matches takes the alert unless it says `continue`; a node none of whose children
matches takes it itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache

from alertbot.domain.matchers import Matcher, matches_all
from alertbot.domain.model import SEVERITY_LABEL


@dataclass(frozen=True, slots=True)
class Route:
    """One node, with everything it inherits already filled in.

    `key` names the node by the matchers on the way to it, so that it survives a change elsewhere in the tree.
    `group_by` is None for `['...']`: group by all labels.
    """

    key: str
    receiver: str
    matchers: tuple[Matcher, ...] = ()
    continue_: bool = False
    group_by: tuple[str, ...] | None = ()
    group_wait: timedelta = timedelta(seconds=30)
    group_interval: timedelta = timedelta(minutes=5)
    repeat_interval: timedelta = timedelta(hours=4)
    reopen_within: timedelta = timedelta(minutes=10)
    mute_time_intervals: tuple[str, ...] = ()
    active_time_intervals: tuple[str, ...] = ()
    escalation: str | None = None
    routes: tuple[Route, ...] = ()

    def walk(self) -> Iterator[Route]:
        """This node and all below it, in the order of the file."""
        yield self
        for child in self.routes:
            yield from child.walk()


def match(route: Route, labels: Mapping[str, str]) -> list[Route]:
    """The nodes that take these labels, in order; empty where the node itself does not match."""
    if not matches_all(route.matchers, labels):
        return []
    taken: list[Route] = []
    for child in route.routes:
        below = match(child, labels)
        taken += below
        if below and not child.continue_:
            break
    return taken or [route]


def group_labels(route: Route, labels: Mapping[str, str]) -> dict[str, str]:
    """The labels that name the incident. A label that the alert lacks is left out, as in Alertmanager."""
    if route.group_by is None:
        return {k: v for k, v in sorted(labels.items()) if k != SEVERITY_LABEL}
    return {k: labels[k] for k in sorted(route.group_by) if k in labels}


def incident_key(route: Route, group: Mapping[str, str]) -> str:
    """What makes two alerts of one route belong together."""
    return _key(route.key, tuple(group.items()))


@lru_cache(maxsize=1024)  # the alerts of a body mostly are of one group
def _key(route: str, group: tuple[tuple[str, str], ...]) -> str:
    return route + "\n" + json.dumps(dict(group), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
