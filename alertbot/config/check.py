"""What `alertbot check` asks: can this be loaded, and how would the alerts of these rules files arrive?

Whether templates compile is asked by the command line, of the part that renders them.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from alertbot.config import yaml
from alertbot.config.load import load, read_text
from alertbot.config.problems import ConfigErrors, Path, Problem
from alertbot.domain.policy import Policy
from alertbot.domain.routing import match
from alertbot.domain.severity import WORD_LABELS, severities_of


def check(path: str | FilePath, rules: Iterable[str] = (), environ: Mapping[str, str] | None = None) -> list[Problem]:
    """All that is wrong: with the configuration, or else with the rules files that these glob patterns find.

    Warnings are no part of it; they come with a configuration that loads. `environ`: else the process's own.
    """
    try:
        config = load(path, os.environ if environ is None else environ, need_secrets=False)
    except ConfigErrors as error:
        return error.problems
    return sorted(_rules(config.policy, rules))


@dataclass(frozen=True, slots=True)
class _Rule:
    file: str
    line: int
    alert: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]

    def problem(self, what: str) -> Problem:
        return Problem(self.file, self.line, f"{self.alert}: {what}")


def _rules(policy: Policy, patterns: Iterable[str]) -> Iterator[Problem]:
    severities = severities_of(policy)
    known = ", ".join(s.name for s in policy.severities)
    for pattern in patterns:
        files = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207  # absolute patterns too
        if not files:
            yield Problem(pattern, 1, "there is no such rules file")
        for file in files:
            try:
                rules = list(_alerting_rules(file))
            except ConfigErrors as error:
                yield from error.problems
                continue
            for rule in rules:
                if not rule.annotations.get("runbook_url"):
                    yield rule.problem("no runbook_url: who is woken by it has nothing to go by")
                words = [rule.labels[label] for label in WORD_LABELS if rule.labels.get(label)]
                templated = any("{{" in word for word in words)
                if not words:
                    yield rule.problem(f"no severity label: it counts as {severities.default}")
                elif not templated and not any(map(severities.knows, words)):
                    yield rule.problem(
                        f"unknown severity `{words[0]}`: it counts as {severities.default}; "
                        f"known are {known} and their aliases"
                    )
                labels = severities.with_severity({**rule.labels, "alertname": rule.alert})
                if match(policy.route, labels) == [policy.route]:
                    yield rule.problem("no route but the root takes it, by the labels that the rule itself sets")


def _alerting_rules(file: str) -> Iterator[_Rule]:
    """Of a Prometheus rules file, or a PrometheusRule of the operator, which has the same under `spec`."""
    document = yaml.read(file, read_text(file))
    top: Path = ()
    data = document.data
    if isinstance(data, dict) and isinstance(data.get("spec"), dict):
        top, data = ("spec",), data["spec"]
    groups = data.get("groups") if isinstance(data, dict) else None
    if not isinstance(groups, list):
        raise ConfigErrors([Problem(file, 1, "this is no rules file of Prometheus: it has no `groups`")])
    for i, group in enumerate(groups):
        rules = group.get("rules") if isinstance(group, dict) else None
        for j, rule in enumerate(rules if isinstance(rules, list) else ()):
            if isinstance(rule, dict) and isinstance(rule.get("alert"), str):
                line = document.line((*top, "groups", i, "rules", j, "alert"))
                yield _Rule(file, line, rule["alert"], _texts(rule.get("labels")), _texts(rule.get("annotations")))


def _texts(value: Any) -> dict[str, str]:
    return {k: v for k, v in value.items() if isinstance(v, str)} if isinstance(value, dict) else {}
