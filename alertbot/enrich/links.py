"""Ways on from an incident that the configuration makes of an alert's labels: logs, a trace, a dashboard."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from alertbot.config.models import LinkModel
from alertbot.domain.model import Alert


def links_of(patterns: Sequence[LinkModel], alerts: Sequence[Alert]) -> Iterator[tuple[str, str]]:
    """(name, address) of each link that some alert has all the labels for, the first such alert's."""
    for link in patterns:
        address = next((url for a in alerts if (url := link.url.fill(a.labels))), "")
        if address:
            yield link.name, address
