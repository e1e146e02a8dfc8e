"""Settings → the policy that a decision reads.

Inheritance and keys are Alertmanager's (dispatch/route.go, NewRoute and Route.Key): a node takes from its
parent what it does not set itself, except `matchers`, `continue` and the time intervals, which are its own
alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Final

from alertbot.config.integrations import entries
from alertbot.config.models import (
    Deploys,
    EscalationPolicy,
    InhibitRuleModel,
    Limits,
    MaintenanceModel,
    ReceiverModel,
    RouteModel,
    Settings,
    SeverityModel,
)
from alertbot.config.models import Heartbeat as HeartbeatModel
from alertbot.domain.budgets import EMAIL, PAGERDUTY, SLACK_POSTS, SLACK_UPDATES, SMS, Rate
from alertbot.domain.deploys import DeploySettings
from alertbot.domain.intervals import TimeInterval
from alertbot.domain.matchers import Matcher
from alertbot.domain.policy import (
    Destination,
    Escalation,
    EscalationStep,
    Flapping,
    Heartbeat,
    InhibitRule,
    Policy,
    Receiver,
    Severity,
    Storms,
)
from alertbot.domain.routing import Route
from alertbot.domain.windows import MAINTENANCE_NAME, Naming, Recurring

#: What the root has where it says nothing (dispatch/route.go, DefaultRouteOpts; `reopen_within` is ours).
ROOT: Final = Route(key="", receiver="")

#: `group_by: ['...']`: by all labels.
ALL_LABELS: Final = "..."

_OPERATORS: Final = ("=", "!=", "=~", "!~")


def compile_policy(settings: Settings) -> Policy:
    """The policy of settings that `load` found nothing wrong with."""
    destinations: dict[str, list[Destination]] = {r.name: [] for r in settings.receivers}
    for entry in entries(settings):
        destinations[entry.receiver].append(entry.destination)
    return Policy(
        severities=compile_severities(settings.severities),
        route=compile_route(settings.route),
        receivers={r.name: _receiver(r, destinations[r.name]) for r in settings.receivers},
        inhibit_rules=tuple(_rule(i, rule) for i, rule in enumerate(settings.inhibit_rules)),
        heartbeats=tuple(_heartbeat(h) for h in settings.heartbeats),
        escalations={p.name: _escalation(p) for p in settings.escalation_policies},
        intervals=_intervals(settings),
        storms=Storms(settings.storms.cards, settings.storms.every, settings.storms.quiet),
        deploys=_deploys(settings.deploys),
        maintenance=tuple(_recurring(settings, m) for m in settings.maintenance),
        alertmanager=bool(settings.global_.alertmanager_url),
        flapping=Flapping(settings.flapping.changes, settings.flapping.within, settings.flapping.quiet),
    )


def _intervals(settings: Settings) -> dict[str, tuple[TimeInterval, ...]]:
    return {i.name: i.time_intervals for i in (*settings.time_intervals, *settings.mute_time_intervals)}


def _recurring(settings: Settings, model: MaintenanceModel) -> Recurring:
    known = _intervals(settings)
    inside = tuple(interval for name in model.time_intervals for interval in known[name])
    return Recurring(model.name, {"alertname": MAINTENANCE_NAME, **model.labels}, inside, model.reason)


def _deploys(model: Deploys) -> DeploySettings:
    return DeploySettings(
        settle=model.settle,
        max_duration=model.max_duration,
        lookback=model.lookback,
        panic_threshold=model.panic_threshold,
        naming=Naming(model.labels.service, model.labels.environment),
    )


def _receiver(model: ReceiverModel, destinations: list[Destination]) -> Receiver:
    return Receiver(model.name, tuple(destinations), model.fallback, model.fallback_after)


def _heartbeat(model: HeartbeatModel) -> Heartbeat:
    matchers = _matchers(model.matchers, {}, {})
    return Heartbeat(model.name, matchers, model.every, model.receiver, model.grace, model.severity or "")


def _escalation(model: EscalationPolicy) -> Escalation:
    return Escalation(model.name, tuple(EscalationStep(s.after, s.receiver) for s in model.steps), model.repeat)


def compile_rates(limits: Limits) -> dict[str, Rate]:
    """The budgets of `alertbot.domain.budgets`."""
    second, minute = timedelta(seconds=1), timedelta(minutes=1)
    return {
        SLACK_POSTS: Rate.of(limits.slack_posts_per_second, second),
        SLACK_UPDATES: Rate.of(limits.slack_updates_per_minute, minute),
        PAGERDUTY: Rate.of(limits.pagerduty_per_minute, minute),
        EMAIL: Rate.of(limits.emails_per_minute, minute),
        SMS: Rate.of(limits.sms_per_minute, minute),
    }


def compile_severities(models: Iterable[SeverityModel]) -> tuple[Severity, ...]:
    """In the order of the file, most urgent first."""
    return tuple(Severity(s.name, s.aliases, s.ack_within, s.remind_acknowledged) for s in models)


def compile_route(model: RouteModel) -> Route:
    """The tree under a root."""
    return _node(model, ROOT, "{}")


def _node(model: RouteModel, parent: Route, key: str) -> Route:
    node = Route(
        key=key,
        receiver=model.receiver or parent.receiver,
        matchers=_matchers_of(model),
        continue_=model.continue_,
        group_by=parent.group_by if model.group_by is None else _group_by(model.group_by),
        group_wait=parent.group_wait if model.group_wait is None else model.group_wait,
        group_interval=parent.group_interval if model.group_interval is None else model.group_interval,
        repeat_interval=parent.repeat_interval if model.repeat_interval is None else model.repeat_interval,
        reopen_within=parent.reopen_within if model.reopen_within is None else model.reopen_within,
        mute_time_intervals=model.mute_time_intervals,
        active_time_intervals=model.active_time_intervals,
        escalation=parent.escalation if model.escalation is None else model.escalation,
    )
    # Alertmanager's key does not tell twins apart; ours must, as incidents are kept by it. A change elsewhere
    # in the tree still leaves it as it is.
    seen: Counter[str] = Counter()
    children = []
    for child in model.routes:
        below = f"{key}/{{{','.join(map(str, _matchers_of(child)))}}}"
        seen[below] += 1
        children.append(_node(child, node, below if seen[below] == 1 else f"{below}#{seen[below]}"))
    return replace(node, routes=tuple(children))


def _group_by(names: tuple[str, ...]) -> tuple[str, ...] | None:
    # Empty: one group of all. It overrides the parent's since Alertmanager 0.31; before, it was as if not
    # given.
    return None if ALL_LABELS in names else names


def _matchers_of(model: RouteModel) -> tuple[Matcher, ...]:
    return _matchers(model.matchers, model.match, model.match_re)


def _rule(i: int, model: InhibitRuleModel) -> InhibitRule:
    return InhibitRule(
        name=model.name or f"inhibit_rules[{i}]",
        source_matchers=_matchers(model.source_matchers, model.source_match, model.source_match_re),
        target_matchers=_matchers(model.target_matchers, model.target_match, model.target_match_re),
        equal=model.equal,
        duration=model.duration,
    )


def _matchers(
    lines: Iterable[tuple[Matcher, ...]], equals: Mapping[str, str], regexes: Mapping[str, str]
) -> tuple[Matcher, ...]:
    """The new form and the older ones together, in Alertmanager's order (pkg/labels/matcher.go,
    Matchers.Less).
    """
    made = [m for line in lines for m in line]
    made += [Matcher(name, "=", value) for name, value in equals.items()]
    made += [Matcher(name, "=~", value) for name, value in regexes.items()]
    return tuple(sorted(made, key=lambda m: (m.name, m.value, _OPERATORS.index(m.op))))
