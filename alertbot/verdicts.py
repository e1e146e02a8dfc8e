"""What there is to say of a window: its verdict, or that it ends soon. Looked up when it is due to be said."""

from __future__ import annotations

from alertbot.domain.deploys import Deploy
from alertbot.domain.model import Delivery, Incident, IncidentStatus
from alertbot.domain.windows import Window, WindowKind
from alertbot.notifiers.base import Told
from alertbot.store.base import Store


async def told_of(store: Store, delivery: Delivery) -> Told | None:
    """The window that a delivery is about, with those that its verdict is for and their deploys; None once they are
    forgotten.
    """
    window = await store.window(delivery.want.incident)
    if window is None:
        return None
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
