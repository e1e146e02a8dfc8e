"""What there is to say of a window: its verdict, or that it ends soon. Looked up when it is due to be said."""

from __future__ import annotations

from collections.abc import Sequence
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
    repeating = {w.id: w for w in going_on(policy.maintenance, now) if w.id not in found}
    known = await store.windows_named(list(repeating))
    found |= {name: window for name, window in repeating.items() if name not in known}
    return sorted(found.values(), key=lambda w: (w.starts_at, w.id), reverse=True)


async def told_of(store: Store, window_id: str) -> Told | None:
    """A window, with those that its verdict is for and their deploys; None where it is not known, or forgotten."""
    found = await with_deploys(store, list((await store.windows_named([window_id])).values()))
    return found[0] if found else None


async def with_deploys(store: Store, windows: Sequence[Window]) -> list[Told]:
    """Each window, with those that its verdict is for and their deploys."""
    names = [w.verdict.windows if w.verdict is not None else (w.id,) for w in windows]
    known = await store.windows_named(list(dict.fromkeys(name for of in names for name in of)))
    deploys = await store.deploys_named(list(dict.fromkeys(w.deploy for w in known.values() if w.deploy)))
    found: list[Told] = []
    for window, of in zip(windows, names, strict=True):
        told = [known[name] for name in of if name in known]
        ids = dict.fromkeys(w.deploy for w in told if w.deploy in deploys)
        found.append(Told(window, tuple(told), tuple(deploys[name] for name in ids)))
    return found


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
