"""The log as a destination: where a receiver has no integrations, and for whoever ships logs anyway."""

from __future__ import annotations

import logging
from typing import Final

from alertbot.notifiers.base import Job, Result, Sent
from alertbot.render import counts, one_line, title, told_lines

_log: Final = logging.getLogger("alertbot.notify")


class LogNotifier:
    """One structured line a notification, whatever its content."""

    dry: str | None = None

    async def deliver(self, job: Job) -> Result:
        """Always there."""
        incident = job.incident
        name, severity = title(incident), one_line(incident.severity)
        told = told_lines(job.told) if job.told is not None else []
        how_many = told[0] if told else counts(incident)
        _log.info(
            "%s [%s] %s (%s)",
            job.action.value,
            severity,
            name,
            how_many,
            extra={
                "incident": incident.id,
                "action": job.action.value,
                "severity": severity,
                "title": name,
                "status": incident.status.value,
                "receiver": one_line(job.delivery.want.receiver),
                "reason": job.delivery.want.reason.value,
                "firing": incident.firing,
                "held": incident.held,
                "resolved": incident.resolved,
                "labels": {one_line(k): one_line(v) for k, v in incident.labels.items()},
                "url": job.links.incident,
                **({"told": told} if told else {}),
            },
        )
        return Sent(remote_id=incident.id)

    async def close(self) -> None:
        """Nothing to let go."""

    def __repr__(self) -> str:
        return "LogNotifier()"
