"""How urgent an alert is: the configured severity that its own word maps to.

Senders have words of their own (`page`, `P1`, `Warning`). The severities of the configuration name them all;
each alert gets the label `alertbot_severity` with the name of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from alertbot.domain.model import SEVERITY_LABEL
from alertbot.domain.policy import Policy, Severity

#: The labels in which senders put their word, in the order in which they are asked.
WORD_LABELS: Final = ("severity", "priority", "level")


@dataclass(frozen=True, slots=True)
class SeverityMap:
    """`words` gives the severity's name for each word in lower case; `default` is for an alert without a
    known one.
    """

    words: Mapping[str, str]
    default: str

    def knows(self, word: str) -> bool:
        """Whether the word is a severity's name or alias; upper and lower case are one."""
        return word.strip().casefold() in self.words

    def of(self, labels: Mapping[str, str]) -> str:
        """The severity of an alert: by the first of `severity`, `priority` and `level` that has a known word.

        Without one it is the default: a severity that a person still sees. What nobody classified may be
        anything, so it must never end up in the quietest place, where it would be as good as swallowed.
        """
        for label in WORD_LABELS:
            name = self.words.get(labels.get(label, "").strip().casefold())
            if name is not None:
                return name
        return self.default

    def with_severity(self, labels: Mapping[str, str]) -> dict[str, str]:
        """The labels with `alertbot_severity`. One that was sent is replaced: it is ours to say."""
        return {**labels, SEVERITY_LABEL: self.of(labels)}


def severities_of(policy: Policy) -> SeverityMap:
    """The map for a policy's severities."""
    return severity_map(policy.severities)


@lru_cache(maxsize=8)
def severity_map(severities: tuple[Severity, ...]) -> SeverityMap:
    """The map for severities in their order, most urgent first; at least one.

    The default is `medium` where there is one, else the last but one, so that only the quietest is quieter.
    """
    words = {word.casefold(): s.name for s in reversed(severities) for word in (*s.aliases, s.name)}
    names = [s.name for s in severities]
    default = "medium" if "medium" in names else names[max(len(names) - 2, 0)]
    return SeverityMap(words, default)
