"""What hangs together in alertbot.yml: names that must be there, or be there once; what only the root route
may not have.

It reads data whose values were not validated: so one run names these mistakes beside all others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from alertbot.config.compile import ALL_LABELS
from alertbot.config.fields import check_label_name
from alertbot.config.models import default_severities
from alertbot.config.problems import Path, did_you_mean, kind_of
from alertbot.config.walk import Walk


@dataclass(slots=True)
class References:
    """Rules between sections, on data whose values were not validated: anything may be of any type still."""

    walk: Walk
    data: dict[str, Any]
    unclear: set[str] = field(default_factory=set)
    """What has items without a readable name: what refers to one of them cannot be judged."""

    def all(self) -> None:
        receivers = self.names("receivers", "receiver")
        self.names("heartbeats", "heartbeat")
        self.names("slos", "slo")
        self.names("links", "link")
        self.budgets()
        policies = self.names("escalation_policies", "escalation policy")
        intervals = self.names("time_intervals", "time interval")
        intervals += self.names("mute_time_intervals", "time interval", intervals)
        rules = [f"inhibit_rules[{i}]" for i, r in self.items("inhibit_rules") if not r.get("name")]
        self.names("inhibit_rules", "inhibit rule", rules)
        for i, rule in self.items("inhibit_rules"):
            self.label_names(rule.get("equal"), ("inhibit_rules", i, "equal"))
        severities = self.severities()
        self.root()
        for path, route in _routes(self.data.get("route"), ("route",)):
            self.refers(route.get("receiver"), (*path, "receiver"), "receiver", receivers)
            self.refers(route.get("escalation"), (*path, "escalation"), "escalation policy", policies)
            for key in ("mute_time_intervals", "active_time_intervals"):
                for i, name in enumerate(_list(route.get(key))):
                    self.refers(name, (*path, key, i), "time interval", intervals)
            self.label_names(route.get("group_by"), (*path, "group_by"))
        for i, policy in self.items("escalation_policies"):
            for j, step in enumerate(_list(policy.get("steps"))):
                at = ("escalation_policies", i, "steps", j, "receiver")
                self.refers(_dict(step).get("receiver"), at, "receiver", receivers)
        self.names("maintenance", "maintenance window")
        for i, window in self.items("maintenance"):
            for j, name in enumerate(_list(window.get("time_intervals"))):
                self.refers(name, ("maintenance", i, "time_intervals", j), "time interval", intervals)
        for i, heartbeat in self.items("heartbeats"):
            self.refers(heartbeat.get("receiver"), ("heartbeats", i, "receiver"), "receiver", receivers)
            self.refers(heartbeat.get("severity"), ("heartbeats", i, "severity"), "severity", severities)
        self.fallbacks(receivers)
        self.severity_maps(severities)

    def items(self, section: str) -> Iterator[tuple[int, dict[str, Any]]]:
        for i, item in enumerate(_list(self.data.get(section))):
            yield i, _dict(item)

    def names(self, section: str, noun: str, taken: list[str] | None = None) -> list[str]:
        """The names of a section, each of which may be there once."""
        found: list[str] = []
        if not isinstance(self.data.get(section, []), list) or (section,) in self.walk.told:
            self.unclear.add(noun)
        for i, item in self.items(section):
            name = item.get("name")
            if not isinstance(name, str):
                self.unclear.add(noun)
                continue
            if name in found or name in (taken or ()):
                self.walk.problem(
                    (section, i, "name"), f"there are two {noun}s with the name `{name}`: each needs its own"
                )
            found.append(name)
        return found

    def refers(self, name: Any, path: Path, noun: str, known: list[str]) -> None:
        if not isinstance(name, str) or name in known or noun in self.unclear:
            return
        more = did_you_mean(name, known) or (f": there are {', '.join(known)}" if known else ": there are none")
        self.walk.problem(path, f"there is no {noun} `{name}`{more}")

    def severities(self) -> list[str]:
        if not self.data.get("severities"):
            return [s.name for s in default_severities()]
        words: dict[str, str] = {}
        for i, severity in self.items("severities"):
            name = severity.get("name")
            for at, word in (("name", name), *(("aliases", a) for a in _list(severity.get("aliases")))):
                if not isinstance(word, str):
                    continue
                other = words.get(word.casefold())
                if other is not None:
                    self.walk.problem(
                        ("severities", i, at), f"the word `{word}` names two severities, {other} and {name}"
                    )
                words[word.casefold()] = str(name)
        return [s["name"] for _, s in self.items("severities") if isinstance(s.get("name"), str)]

    def root(self) -> None:
        """As Alertmanager has it: every alert enters there, so it takes every alert."""
        route = self.data.get("route")
        if not isinstance(route, dict):
            return
        if not route.get("receiver") and ("route", "receiver") not in self.walk.told:
            self.walk.problem(
                ("route", "receiver"), "the root route needs a `receiver`: it takes what no other route takes"
            )
        for key in ("matchers", "match", "match_re"):
            if route.get(key):
                self.walk.problem(
                    ("route", key), f"the root route takes every alert: put `{key}` into a route below it"
                )
        for key in ("mute_time_intervals", "active_time_intervals"):
            if route.get(key):
                self.walk.problem(("route", key), f"the root route is never muted: put `{key}` into a route below it")
        if route.get("continue") == "true":
            self.walk.problem(("route", "continue"), "the root route cannot `continue`: nothing stands beside it")

    def label_names(self, names: Any, path: Path) -> None:
        names = _list(names)
        for i, name in enumerate(names):
            at = (*path, i)
            if not isinstance(name, str):
                self.walk.problem(at, f"`{path[-1]}`: expected a label name, not {kind_of(name)}")
            elif name == ALL_LABELS and path[-1] == "group_by":
                if len(names) > 1:
                    self.walk.problem(at, "`...` groups by all labels: it stands alone in `group_by`")
            elif name in names[:i]:
                self.walk.problem(at, f"the label `{name}` is in `{path[-1]}` twice")
            else:
                try:
                    check_label_name(name)
                except ValueError as error:
                    self.walk.problem(at, f"`{path[-1]}`: {error}")

    def fallbacks(self, receivers: list[str]) -> None:
        to: dict[str, str] = {}
        for i, receiver in self.items("receivers"):
            fallback, name, at = receiver.get("fallback"), receiver.get("name"), ("receivers", i, "fallback")
            if not isinstance(fallback, str) or not isinstance(name, str):
                continue
            self.refers(fallback, at, "receiver", receivers)
            if not any(receiver.get(key) for key in receiver if key.endswith("_configs")):
                self.walk.problem(
                    at, f"`{name}` has no integrations that could fail: its `fallback` can never be reached"
                )
            to.setdefault(name, fallback)
        looping: set[str] = set()
        for i, receiver in self.items("receivers"):
            way = [str(receiver.get("name"))]
            while way[-1] in to and to[way[-1]] not in way:
                way.append(to[way[-1]])
            if way[-1] in to and to[way[-1]] == way[0] and way[0] not in looping:
                looping.update(way)
                what = f"fallbacks go in a circle: {' → '.join([*way, way[0]])}"
                self.walk.problem(("receivers", i, "fallback"), what)

    def budgets(self) -> None:
        """How Prometheus is to be asked for an error budget: in one of two ways."""
        for i, slo in self.items("slos"):
            one, two = slo.get("query"), [slo.get("good"), slo.get("total")]
            if slo and (bool(one) == any(two) or (any(two) and not all(two))):
                what = "give `query`, what is left of the budget from 0 to 1, or both `good` and `total`"
                self.walk.problem(("slos", i), what)

    def severity_maps(self, severities: list[str]) -> None:
        for i, receiver in self.items("receivers"):
            for j, config in enumerate(_list(receiver.get("pagerduty_configs"))):
                for name in _dict(_dict(config).get("severity_map")):
                    at = ("receivers", i, "pagerduty_configs", j, "severity_map", name)
                    self.refers(name, at, "severity", severities)


def _routes(node: Any, path: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    if isinstance(node, dict):
        yield path, node
        for i, child in enumerate(_list(node.get("routes"))):
            yield from _routes(child, (*path, "routes", i))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
