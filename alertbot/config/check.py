"""What `alertbot check` asks: can this be loaded, and how would the alerts of these rules files arrive?

Whether templates compile is asked by the command line, of the part that renders them.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
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
    return check_rules(config.policy, rules)


@dataclass(frozen=True, slots=True)
class Rule:
    """An alerting rule, and where it stands. Its texts are as written: templates are not filled."""

    file: str
    line: int
    alert: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]

    def problem(self, what: str) -> Problem:
        """Something to say of it."""
        return Problem(self.file, self.line, f"{self.alert}: {what}")


def read_rules(patterns: Iterable[str]) -> tuple[list[Rule], list[Problem]]:
    """The alerting rules of the files that these glob patterns find, and what could not be read."""
    rules: list[Rule] = []
    problems: list[Problem] = []
    # A file that two patterns find is read once.
    files: dict[str, None] = {}
    for pattern in dict.fromkeys(patterns):
        found = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207  # absolute patterns too
        files.update(dict.fromkeys(found))
        if not found:
            problems.append(Problem(pattern, 1, "there is no such rules file"))
    for file in files:
        try:
            rules += _alerting_rules(file)
        except ConfigErrors as error:
            problems += error.problems
    return rules, problems


def check_rules(
    policy: Policy, patterns: Iterable[str], has_runbook: Callable[[Rule], bool] | None = None
) -> list[Problem]:
    """What is wrong with rules files, and with how their alerts would arrive.

    `has_runbook`: whether a file of the runbooks' folder is for an alert that has no `runbook_url`.
    """
    rules, problems = read_rules(patterns)
    return sorted((*problems, *(p for rule in rules for p in _arrival(policy, rule, has_runbook))))


def _arrival(policy: Policy, rule: Rule, has_runbook: Callable[[Rule], bool] | None) -> Iterator[Problem]:
    severities = severities_of(policy)
    known = ", ".join(s.name for s in policy.severities)
    if not rule.annotations.get("runbook_url") and not (has_runbook and has_runbook(rule)):
        nor = ", and no file in runbooks.path is for it" if has_runbook else ""
        yield rule.problem(f"no runbook_url{nor}: who is woken by it has nothing to go by")
    words = [rule.labels[label] for label in WORD_LABELS if rule.labels.get(label)]
    templated = any("{{" in word for word in words)
    if not words:
        yield rule.problem(f"no severity label: it counts as {severities.default}")
    elif not templated and not any(map(severities.knows, words)):
        yield rule.problem(
            f"unknown severity `{words[0]}`: it counts as {severities.default}; known are {known} and their aliases"
        )
    labels = severities.with_severity({**rule.labels, "alertname": rule.alert})
    if match(policy.route, labels) == [policy.route]:
        yield rule.problem("no route but the root takes it, by the labels that the rule itself sets")


def _alerting_rules(file: str) -> Iterator[Rule]:
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
                yield Rule(file, line, rule["alert"], _texts(rule.get("labels")), _texts(rule.get("annotations")))


def _texts(value: Any) -> dict[str, str]:
    return {k: v for k, v in value.items() if isinstance(v, str)} if isinstance(value, dict) else {}
