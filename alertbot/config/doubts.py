"""What a configuration would do that its writer may not have meant: warnings, not errors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from alertbot.config.integrations import is_loopback
from alertbot.config.models import Settings
from alertbot.config.problems import Path
from alertbot.domain.model import SEVERITY_LABEL
from alertbot.domain.policy import InhibitRule, Policy
from alertbot.domain.severity import WORD_LABELS, severities_of

#: What deploys and maintenance windows are called as sources.
HOLD_SOURCES: Final = ("Deployment", "Maintenance")


def doubts(settings: Settings, policy: Policy) -> Iterator[tuple[Path, str]]:
    """Each with its place in the file."""
    yield from _critical_holds(policy)
    yield from _short_retention(settings, policy)
    web = settings.web
    if not web.webhook_tokens and not is_loopback(web.listen.rpartition(":")[0]):
        what = "anybody could raise alerts at this address: `serve` refuses it without web.webhook_tokens"
        yield ("web", "listen"), what
    if settings.slos and settings.global_.prometheus_url is None:
        yield ("slos",), "nobody is asked for these error budgets: set global.prometheus_url"
    for i, receiver in enumerate(settings.receivers):
        if _only_logs(policy, receiver.fallback or ""):
            what = f"the fallback `{receiver.fallback}` has no integrations: only the log would hear of it"
            yield ("receivers", i, "fallback"), what

    for i, escalation in enumerate(settings.escalation_policies):
        for j, step in enumerate(escalation.steps):
            if _only_logs(policy, step.receiver):
                what = f"the receiver `{step.receiver}` has no integrations: only the log would hear of the escalation"
                yield ("escalation_policies", i, "steps", j, "receiver"), what


def _only_logs(policy: Policy, receiver: str) -> bool:
    found = policy.receivers.get(receiver)
    return found is not None and all(d.integration == "log" for d in found.destinations)


def _critical_holds(policy: Policy) -> Iterator[tuple[Path, str]]:
    """A rule holds a critical alert if its matchers match it; in a deploy that is seldom what is meant."""
    critical = policy.severities[0].name
    for i, rule in enumerate(policy.inhibit_rules):
        if _is_hold(rule) and _may_be_of(policy, rule, critical):
            what = (
                f"`{rule.name}` can hold {critical} alerts too: "
                f'add {SEVERITY_LABEL}!="{critical}" to its target_matchers unless that is meant'
            )
            yield ("inhibit_rules", i), what


def _is_hold(rule: InhibitRule) -> bool:
    named = [m for m in rule.source_matchers if m.name == "alertname"]
    if not named:
        return False
    if any(all(m.matches({m.name: source}) for m in named) for source in HOLD_SOURCES):
        return True
    return any(
        "maintenance" in m.value.casefold() or "deploy" in m.value.casefold() for m in named if m.op in ("=", "=~")
    )


def _may_be_of(policy: Policy, rule: InhibitRule, severity: str) -> bool:
    """Whether nothing in the target matchers keeps alerts of this severity out."""
    words = [w for w, name in severities_of(policy).words.items() if name == severity]

    def some(label: str, values: list[str]) -> bool:
        wanted = [m for m in rule.target_matchers if m.name == label]
        return any(all(m.matches({m.name: value}) for m in wanted) for value in values)

    # A label may also be missing, where another of them has the word.
    return some(SEVERITY_LABEL, [severity]) and all(some(label, ["", *words]) for label in WORD_LABELS)


def _short_retention(settings: Settings, policy: Policy) -> Iterator[tuple[Path, str]]:
    longest = max(policy.route.walk(), key=lambda r: r.repeat_interval)
    if settings.store.retention < longest.repeat_interval:
        what = f"shorter than the repeat_interval of the route {longest.key}, {longest.repeat_interval}"
        yield ("store", "retention"), what
