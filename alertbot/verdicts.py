"""What there is to say of a window: its verdict, or that it ends soon. Looked up when it is due to be said."""

from __future__ import annotations

from datetime import datetime

from alertbot.domain.deploys import Deploy
from alertbot.domain.model import Delivery, Incident, IncidentStatus
from alertbot.domain.policy import Policy
from alertbot.domain.windows import Window, WindowKind, going_on
from alertbot.notifiers.base import Told
from alertbot.store.base import Store


async def open_windows(store: Store, policy: Policy, now: datetime) -> list[Window]:
    """The windows that are not over, the latest start first; repeating ones too that have held nothing yet."""
    found = {w.id: w for w in await store.windows(now) if not w.over}
    for window in going_on(policy.maintenance, now):
        if window.id not in found and await store.window(window.id) is None:
            found[window.id] = window
    return sorted(found.values(), key=lambda w: (w.starts_at, w.id), reverse=True)


async def told_of(store: Store, window_id: str) -> Told | None:
    """A window, with those that its verdict is for and their deploys; None where it is not known, or forgotten."""
    window = await store.window(window_id)
    return None if window is None else await with_deploys(store, window)


async def with_deploys(store: Store, window: Window) -> Told:
    """A window, with those that its verdict is for and their deploys."""
    names = window.verdict.windows if window.verdict is not None else (window.id,)
    windows = [w for w in [await store.window(name) for name in names] if w is not None]
    ids = dict.fromkeys(w.deploy for w in windows if w.deploy)
    deploys = [d for d in [await store.deploy(name) for name in ids] if d is not None]
    return Told(window, tuple(windows), tuple(deploys))


def incident_of(delivery: Delivery, told: Told) -> Incident:
    """A window as the incident that notifiers know how to show."""
    window, verdict = told.window, told.window.verdict
    return Incident(
        id=window.id,
        key="",
        route="",
        receiver=delivery.want.receiver,
        labels=window.labels,
        title=title(told),
        severity=verdict.severity if verdict is not None else "",
        status=IncidentStatus.RESOLVED if verdict is not None and not verdict.firing else IncidentStatus.OPEN,
        created_at=window.starts_at,
        opened_at=window.starts_at,
        openings=1,
        firing=verdict.firing if verdict is not None else 0,
        held=verdict.held if verdict is not None else 0,
        resolved=verdict.cleared if verdict is not None else 0,
    )


def title(told: Told) -> str:
    """Whose it was: the deploys by service, version and author, a maintenance by what it is called."""
    by_id = {deploy.id: deploy for deploy in told.deploys}
    return "; ".join(dict.fromkeys(_name(window, by_id) for window in told.windows)) or told.window.title


def _name(window: Window, deploys: dict[str, Deploy]) -> str:
    deploy = deploys.get(window.deploy)
    if window.kind is WindowKind.MAINTENANCE or deploy is None:
        return f"{window.title}, {window.reason}" if window.reason else window.title
    return deploy.named
