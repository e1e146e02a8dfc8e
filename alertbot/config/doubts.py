"""What a configuration would do that its writer may not have meant: warnings, not errors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from alertbot.config.integrations import is_loopback
from alertbot.config.models import Settings
from alertbot.config.problems import Path
from alertbot.domain.matchers import matches_all
from alertbot.domain.model import SEVERITY_LABEL
from alertbot.domain.policy import InhibitRule, Policy
from alertbot.domain.severity import WORD_LABELS, severities_of
from alertbot.domain.windows import MAINTENANCE_NAME

#: What deploys and maintenance windows are called as sources.
DEPLOYMENT: Final = "Deployment"
HOLD_SOURCES: Final = (DEPLOYMENT, MAINTENANCE_NAME)
#: Labels that our readers of webhooks give a deploy, besides its service, environment and version.
DEPLOY_LABELS: Final = frozenset({"version", "repository", "project", "branch", "application", "ephemeral"})


def doubts(settings: Settings, policy: Policy) -> Iterator[tuple[Path, str]]:
    """Each with its place in the file."""
    yield from _critical_holds(policy)
    yield from _never_equal(policy)
    yield from _never_a_source(policy)
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
        if _is_hold(policy, rule) and _may_be_of(policy, rule, critical):
            what = (
                f"`{rule.name}` can hold {critical} alerts too: "
                f'add {SEVERITY_LABEL}!="{critical}" to its target_matchers unless that is meant'
            )
            yield ("inhibit_rules", i), what


def _never_equal(policy: Policy) -> Iterator[tuple[Path, str]]:
    """Labels in which a rule wants a deploy and an alert to agree, and that a deploy does not have by itself."""
    known = DEPLOY_LABELS | policy.deploys.naming.canonical.keys()
    for i, rule in enumerate(policy.inhibit_rules):
        for j, name in enumerate(rule.equal if _has_source(rule, DEPLOYMENT) else ()):
            if name == "alertname":
                what = f"a deploy's alertname is {DEPLOYMENT}: `{rule.name}` holds no alert of another name"
                yield ("inhibit_rules", i, "equal", j), what
            elif name not in known:
                what = f"no deploy has `{name}` unless it is reported with it: `{rule.name}` holds what lacks it too"
                yield ("inhibit_rules", i, "equal", j), what


def _never_a_source(policy: Policy) -> Iterator[tuple[Path, str]]:
    """Repeating windows that hold nothing."""
    for i, window in enumerate(policy.maintenance):
        if not any(matches_all(rule.source_matchers, window.labels) for rule in policy.inhibit_rules):
            named = ", ".join(f'{name}="{value}"' for name, value in sorted(window.labels.items()))
            yield ("maintenance", i), f"`{window.name}` holds nothing: no inhibit rule has {named} as a source"


def _is_hold(policy: Policy, rule: InhibitRule) -> bool:
    named = [m for m in rule.source_matchers if m.name == "alertname"]
    if any(_has_source(rule, source) for source in HOLD_SOURCES):
        return True
    if any(matches_all(rule.source_matchers, window.labels) for window in policy.maintenance):
        return True
    return any(
        "maintenance" in m.value.casefold() or "deploy" in m.value.casefold() for m in named if m.op in ("=", "=~")
    )


def _has_source(rule: InhibitRule, alertname: str) -> bool:
    """Whether a rule means sources of this name, by their name."""
    named = [m for m in rule.source_matchers if m.name == "alertname"]
    return bool(named) and all(m.matches({m.name: alertname}) for m in named)


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
