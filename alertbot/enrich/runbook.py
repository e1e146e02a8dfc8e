"""The runbook of an incident: that of its first alert that has one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import quote

from alertbot.domain.enrichment import RunbookRef
from alertbot.domain.model import Alert
from alertbot.enrich.runbooks import Runbooks


def runbook_of(runbooks: Runbooks, external_url: str, alerts: Sequence[Alert]) -> RunbookRef | None:
    """One that is a file and has no address of its own is read on our page, below `external_url`."""
    found = (runbooks.for_alert(a.labels, a.annotations) for a in alerts)
    runbook = next((r for r in found if r is not None), None)
    if runbook is None or runbook.url:
        return runbook
    return replace(runbook, url=f"{external_url}runbooks/{quote(runbook.name, safe='')}")
