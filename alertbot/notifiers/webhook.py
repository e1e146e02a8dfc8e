"""Anybody's receiver of JSON: one POST a change of the incident.

The body is the incident's shape as the API shows it, without the deliveries and what only the store knows,
and with `action`, `reason`, `severity_rank` and `sent_at`. `Idempotency-Key` is the same on every repeat of
one notification.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from alertbot.notifiers.answers import classify, retry_after, safe_words
from alertbot.notifiers.base import DryRun, Job, Result, Retry, Sent
from alertbot.render import alert_view, counts, one_line, safe_links, title, told_lines


class WebhookNotifier:
    """One URL. It may hold a secret, so that only its host is ever named.

    `to` is its name where that is not its host. `token` is sent as Bearer; `secret` signs:
    `X-Alertbot-Signature: v1=` and the hex HMAC-SHA256 of `<X-Alertbot-Timestamp>.<body>`. `timeout`, in
    seconds, bounds an attempt as a whole. A session that is given stays its giver's. ValueError for a URL
    that is not an absolute http(s) one, or a header that cannot be sent.
    """

    def __init__(
        self,
        url: str | None,
        *,
        to: str = "",
        token: str | None = None,
        secret: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 10.0,
        session: aiohttp.ClientSession | None = None,
    ) -> None:
        self.dry: str | None = None if url else "url"
        host = _host(url) if url else "webhook"
        self.to = to or host
        self.timeout = timeout
        self._url = url or ""
        self._token = token
        self._secret = secret
        self._headers = dict(headers or {})
        for name, value in self._headers.items():
            if not name.isascii() or any(c in "\r\n\0" for c in name + value):
                raise ValueError(f"the header {one_line(name)!r} cannot be sent")
        self._session = session
        self._own_session = session is None

    async def deliver(self, job: Job) -> Result:
        """One POST. 2xx: it is there. 408, 425, 429, 5xx: again later. Anything else: never."""
        if self.dry:
            return DryRun(f"{job.action.value} {title(job.incident)} ({counts(job.incident)})")
        body = json.dumps(shape(job), separators=(",", ":")).encode()
        try:
            async with asyncio.timeout(self.timeout):
                async with self._client().post(
                    self._url,
                    data=body,
                    headers=self._all_headers(job, body),
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(total=self.timeout),
                ) as answer:
                    words = ""
                    if not 200 <= answer.status < 300:
                        words = (await answer.content.read(4096)).decode("utf-8", "replace")
                    after = retry_after(answer.headers.get("Retry-After"), job.now)
        except (TimeoutError, aiohttp.ServerTimeoutError):
            return Retry(f"no answer from {self.to} within {self.timeout:g} s", uncertain=True)
        except aiohttp.ClientConnectorError as e:
            return Retry(f"no connection to {self.to}: {type(e.os_error).__name__}")
        except (aiohttp.ClientError, OSError) as e:
            return Retry(f"the connection to {self.to} broke: {type(e).__name__}", uncertain=True)
        bad = classify(self.to, answer.status, safe_words(words, self._secrets()), after)
        return Sent(remote_id=idempotency_key(job)) if bad is None else bad

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(trust_env=False, cookie_jar=aiohttp.DummyCookieJar())
        return self._session

    def _all_headers(self, job: Job, body: bytes) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "User-Agent": "alertbot", **self._headers}
        headers["Idempotency-Key"] = idempotency_key(job)
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        if self._secret:
            stamp = str(int(job.now.timestamp()))
            digest = hmac.new(self._secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
            headers["X-Alertbot-Timestamp"] = stamp
            headers["X-Alertbot-Signature"] = f"v1={digest}"
        return headers

    def _secrets(self) -> list[str | None]:
        parts = urlsplit(self._url)
        pieces = [p for p in (*parts.path.split("/"), parts.query, parts.password) if p and len(p) >= 8]
        return [self._url, self._token, self._secret, *self._headers.values(), *pieces]

    async def close(self) -> None:
        """Lets go of a session of our own."""
        if self._own_session and self._session is not None:
            await self._session.close()
            self._session = None

    def __repr__(self) -> str:
        return f"WebhookNotifier({self.to!r})"


def idempotency_key(job: Job) -> str:
    """The same for every repeat of one notification: of the delivery, and of the level that it is brought
    to."""
    level = job.delivery.want.level
    text = f"{job.delivery.id}\n{level.opening}\n{level.revision}\n{job.action.value}"
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]


def shape(job: Job) -> dict[str, Any]:
    """The incident as JSON-able data, with what is to be done about it. Times are RFC 3339 in UTC."""
    incident, links = job.incident, safe_links(job.links)
    alerts = []
    for alert in job.alerts:
        view = alert_view(alert)
        alerts.append(
            {
                "fingerprint": alert.fingerprint,
                "status": view.status,
                "labels": dict(alert.labels),
                "annotations": dict(alert.annotations),
                "starts_at": _time(alert.starts_at),
                "ends_at": _time(view.ends_at),
                "held_by": view.held_by or None,
                "held_until": _time(view.held_until),
            }
        )
    return {
        "action": job.action.value,
        "reason": job.delivery.want.reason.value,
        "sent_at": _time(job.now),
        "receiver": job.delivery.want.receiver,
        "severity_rank": job.delivery.want.rank,
        "test": incident.test,
        "id": incident.id,
        "status": incident.status.value,
        "severity": incident.severity,
        "labels": dict(incident.labels),
        "title": title(incident),
        "url": links.incident,
        "opened_at": _time(incident.opened_at),
        "acknowledged_at": _time(incident.acknowledged_at),
        "acknowledged_by": incident.acknowledged_by,
        "resolved_at": _time(incident.resolved_at),
        "flapping": incident.flapping,
        "counts": {"firing": incident.firing, "held": incident.held, "resolved": incident.resolved},
        "alerts": alerts,
        "told": told_lines(job.told) if job.told is not None else [],
        "runbook": links.runbook or None,
        "graph": links.graph or None,
    }


def _time(when: datetime | None) -> str | None:
    return None if when is None else when.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _host(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host or any(ord(c) < 33 for c in url):
        raise ValueError("the webhook's url is not an absolute http or https address")
    return host
