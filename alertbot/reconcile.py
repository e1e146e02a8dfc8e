"""Looks at Alertmanager, and brings both sides together.

Each look reads what is open here, then asks every member what fires and what is silenced there. `compare` says what
differs; that is recorded as an event, and decided like any other. Then the silences that incidents want are made,
extended and ended there: like a delivery they are levels, so a crash anywhere, or an Alertmanager that was away, is
mended by the next look.

A false all-clear is worse than a late one. An alert is gone only if it was missing in two looks, a period apart, at all
members, each of which could know (see `alertbot.alertmanager`), and only if it is one of theirs.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import msgspec

from alertbot import alertmanager
from alertbot.alertmanager import Alertmanager, Look, Matcher, Refused, Unreachable
from alertbot.clock import Clock
from alertbot.domain.matchers import Matcher as LabelMatcher
from alertbot.domain.model import SEVERITY_LABEL, Alert, AlertStatus, Incident, IncidentStatus, Silence
from alertbot.domain.reports import same_labels
from alertbot.domain.silences import INHIBITED_FOR
from alertbot.sources.reconcile import Found, ReconcileBody, SilenceKeptBody
from alertbot.store.base import Keys, Store, StoreError

log = logging.getLogger("alertbot.reconcile")

#: Alerts of one event.
SLICE: Final = 500
#: Rows read at once.
PAGE: Final = 1000
#: A silence until resolved is made for so long, and extended when half of it is over: what nobody ends, ends.
ROLLING: Final = timedelta(hours=2)
#: Silences made in Alertmanager for one incident; what is over it is muted here only.
MOST_SILENCES: Final = 200
#: How soon a silence that Alertmanager did not take is tried again.
AGAIN: Final = timedelta(seconds=15)
#: Where the store remembers by which of Alertmanager's receivers alerts come here.
RECEIVERS_META: Final = "alertmanager_receivers"

#: Takes an event: its source and body. Raises `StoreError`.
Accept = Callable[[str, bytes], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Settings:
    """What of the config a look depends on. `external_urls` are what our Alertmanagers call themselves."""

    every: timedelta = timedelta(minutes=1)
    external_urls: frozenset[str] = frozenset()
    receiver: LabelMatcher | None = None
    """Matches the label `receiver` of what has our webhook; None: what was learned."""
    page: str = ""
    """Where alertbot's own pages are: the mark of its silences."""


@dataclass(slots=True)
class Memory:
    """What was seen in the looks before. Lost at a restart, which only makes things later."""

    missing: dict[str, tuple[datetime | None, datetime]] = field(default_factory=dict)
    """Open here and not there: of which episode, and since which look."""
    unheard: dict[str, datetime] = field(default_factory=dict)
    """Fires there and is not open here: since which look."""
    receivers: set[str] = field(default_factory=set)
    """Receivers there by which alerts come here."""


def compare(here: Sequence[Alert], look: Look, memory: Memory, settings: Settings) -> ReconcileBody:
    """What differs. `here`: everything open here, read before the look began. Writes into `memory`."""
    rows: dict[str, list[Alert]] = {}
    """Of an alert that several routes take there are several."""
    for alert in here:
        if alert.firing and alert.current:
            rows.setdefault(alert.fingerprint, []).append(alert)
    found: list[Found] = []
    gone: list[Found] = []
    silences: dict[str, Silence | None] = {}
    vouched: list[str] = []
    missing: dict[str, tuple[datetime | None, datetime]] = {}
    for fingerprint, (row, *others) in rows.items():
        there = look.alerts.get(fingerprint)
        if there is not None and same_labels(row.labels, there.labels):
            _learn(row, there, memory)
            if row.status is AlertStatus.UNKNOWN:
                found.append(_found(there))
            if not row.vouched and not is_theirs(row, settings):
                vouched.append(row.identity)
            for each in (row, *others):
                now = silence_there(there, look, mark(settings.page, each.incident))
                if _differs(each.silence, now, look.at):
                    silences[row.identity] = now
        elif there is None and look.complete and (row.vouched or is_theirs(row, settings)):
            first = memory.missing.get(fingerprint)
            since = first[1] if first is not None and first[0] == row.fired_at else look.at
            missing[fingerprint] = row.fired_at, since
            if look.at - since >= settings.every and row.seen_at <= look.at:
                labels = {k: v for k, v in row.labels.items() if k != SEVERITY_LABEL}
                gone.append(Found(row.fingerprint, labels, row.fired_at or row.starts_at, since))
    memory.missing = missing
    unheard = {f: a for f, a in look.alerts.items() if f not in rows and _for_us(a, look, memory, settings)}
    memory.unheard = {f: memory.unheard.get(f, look.at) for f in unheard}
    found += [_found(a) for f, a in unheard.items() if look.at - memory.unheard[f] >= settings.every]
    return ReconcileBody(
        found=found,
        gone=gone,
        silences=silences,
        vouched=vouched,
        external_url=min(settings.external_urls, default=""),
    )


def silence_there(alert: alertmanager.Alert, look: Look, ours: str = "\0") -> Silence | None:
    """Who silences an alert there: of several silences the one that ends last; else that it is inhibited.

    Those with the mark `ours` do not count: alertbot made them, and knows whether they are still to be.
    """
    known = [s for i in alert.status.silenced_by if (s := look.silences.get(i)) is not None and ours not in s.comment]
    if known:
        last = max(known, key=lambda s: (s.ends_at, s.id))
        return Silence(last.created_by or "somebody", last.starts_at, last.ends_at, last.comment, last.id)
    if alert.status.inhibited_by:
        names = sorted(
            {look.alerts[f].labels.get("alertname", f) for f in alert.status.inhibited_by if f in look.alerts}
        )
        why = f"while {', '.join(names)} fires" if names else ""
        return Silence("Alertmanager", look.at, look.at + INHIBITED_FOR, why, inhibited=True)
    return None


def _differs(here: Silence | None, there: Silence | None, now: datetime) -> bool:
    """Whether what Alertmanager says is news. A silence made through alertbot is not its to end (see `keep`)."""
    if here is not None and here.made_here:
        return False
    if here is None or there is None or not (here.inhibited and there.inhibited):
        return here != there
    # An inhibition is said again before it is forgotten.
    return here.comment != there.comment or (here.until or now) - now < INHIBITED_FOR / 2


def is_theirs(row: Alert, settings: Settings) -> bool:
    """Whether its webhook came from one of our Alertmanagers, by the name that it gives itself."""
    return row.external_url.rstrip("/") + "/" in settings.external_urls


def _learn(row: Alert, there: alertmanager.Alert, memory: Memory) -> None:
    """An alert that came by webhook, and goes to one receiver only: that one has our webhook."""
    if row.group_key and len(there.receivers) == 1:
        memory.receivers.add(there.receivers[0].name)


def _for_us(alert: alertmanager.Alert, look: Look, memory: Memory, settings: Settings) -> bool:
    """Whether Alertmanager would tell us of it now."""
    if alert.status.state != "active" or alert.status.muted_by:
        return False
    if alert.status.muted_by is None and _MUTES.search(look.config):
        # Before 0.28 the API does not tell what is muted by a time interval.
        return False
    if settings.receiver is not None:
        return any(settings.receiver.matches({"receiver": r.name}) for r in alert.receivers)
    return any(r.name in memory.receivers for r in alert.receivers)


_MUTES: Final = re.compile(r"^\s*(?:- )?(?:mute|active)_time_intervals:", re.MULTILINE)


def _found(alert: alertmanager.Alert) -> Found:
    labels = {k: v for k, v in alert.labels.items() if v}
    return Found(alert.fingerprint, labels, alert.starts_at, None, alert.annotations, alert.generator_url)


def slices(body: ReconcileBody) -> Iterable[ReconcileBody]:
    """The body in events of at most `SLICE` things each; none where there is nothing to say."""
    silences = list(body.silences.items())
    longest = max(map(len, (body.found, body.gone, silences, body.vouched)))
    for n in range(0, longest, SLICE):
        part = slice(n, n + SLICE)
        yield ReconcileBody(
            found=body.found[part],
            gone=body.gone[part],
            silences=dict(silences[part]),
            vouched=body.vouched[part],
            external_url=body.external_url,
        )


# Silences of ours.


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done in Alertmanager so that one incident's silence is kept there."""

    make: Sequence[tuple[Matcher, ...]] = ()
    extend: Sequence[alertmanager.Silence] = ()
    expire: Sequence[str] = ()
    kept: int = 0
    """How many alerts are silenced there as they should be, once all of it is done."""
    ended: Sequence[str] = ()
    """Identities of alerts whose silence somebody ended there."""
    left_out: int = 0
    """Alerts over `MOST_SILENCES`."""


def mark(page: str, incident: str) -> str:
    """How the comment of our silences ends: by it they are found again, and people find the incident."""
    return f" {page}incidents/{incident})"


def matchers_for(labels: Mapping[str, str], others: Iterable[Mapping[str, str]]) -> tuple[Matcher, ...]:
    """Equality in every label: exactly this alert. Of `others` that have more labels, one label each is ruled out."""
    labels = {k: v for k, v in labels.items() if k != SEVERITY_LABEL and v}
    more: set[str] = set()
    for other in others:
        further = other.keys() - labels.keys()
        if further and labels.items() <= other.items() and not more & further:
            more.add(min(further))
    return tuple([Matcher(k, v) for k, v in sorted(labels.items())] + [Matcher(k, "") for k in sorted(more)])


def plan(incident: Incident, members: Sequence[Alert], look: Look, page: str) -> Plan:
    """What an incident wants of Alertmanager, and what there is."""
    found = [s for s in look.silences.values() if s.comment.endswith(mark(page, incident.id))]
    active = sorted((s for s in found if s.status.state != "expired"), key=lambda s: (s.starts_at, s.id))
    own = incident.silence
    if own is None or (own.until is None and incident.status is IncidentStatus.RESOLVED):
        return Plan(expire=[s.id for s in active])
    known: dict[frozenset[Matcher], alertmanager.Silence] = {}
    doubles = [s.id for s in active if known.setdefault(frozenset(s.matchers), s) is not s]
    make: list[tuple[Matcher, ...]] = []
    extend: list[alertmanager.Silence] = []
    ended: list[str] = []
    wanted = [a for a in members if a.firing and a.silence is not None and a.silence.made_here]
    there = [a.labels for a in look.alerts.values()]
    for alert in wanted[:MOST_SILENCES]:
        core = frozenset(matchers_for(alert.labels, ()))
        has = next((s for s in known.values() if _is_of(core, s)), None)
        if has is not None:
            if _short(has, own, look.at):
                extend.append(has)
        elif any(_is_of(core, s) and _ended_by_hand(s, own) for s in found):
            ended.append(alert.identity)
        elif own.until is None or own.until > look.at:
            make.append(matchers_for(alert.labels, there))
    kept = min(len(wanted), MOST_SILENCES)
    return Plan(make, extend, doubles, kept - len(ended), ended, len(wanted) - kept)


def _is_of(core: frozenset[Matcher], silence: alertmanager.Silence) -> bool:
    """Whether a silence is of the alert with these labels: what it has besides only rules labels out."""
    matchers = frozenset(silence.matchers)
    return core <= matchers and all(m.value == "" for m in matchers - core)


def end_of(own: Silence, now: datetime) -> datetime:
    """When a silence is to end in Alertmanager."""
    return now + ROLLING if own.until is None else own.until


def _short(silence: alertmanager.Silence, own: Silence, now: datetime) -> bool:
    if own.until is None:
        return silence.ends_at - now < ROLLING / 2
    return abs(silence.ends_at - own.until) > timedelta(seconds=1)


def _ended_by_hand(silence: alertmanager.Silence, own: Silence) -> bool:
    """Somebody expired it: Alertmanager then sets its end to the time of that change (silence/silence.go)."""
    by_hand = silence.ends_at - silence.updated_at <= timedelta(seconds=1)
    return silence.status.state == "expired" and by_hand and silence.ends_at > own.since


class Reconciler:
    """See the module's text. `ask` gives the Alertmanager of the config in use, or None."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        ask: Callable[[], Alertmanager | None],
        settings: Callable[[], Settings],
        accept: Accept,
        looked: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self.store = store
        self.clock = clock
        self.ask = ask
        self.settings = settings
        self.accept = accept
        self.looked = looked
        self.memory = Memory()
        self._signal = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        self._away = False

    def wake(self) -> None:
        """A silence was asked for, or the config changed: look now."""
        self._signal.set()

    async def start(self) -> None:
        """Looks in the background until `stop`."""
        known = await self.store.get_meta(RECEIVERS_META)
        self.memory.receivers = set(msgspec.json.decode(known, type=list[str])) if known else set()
        self._task = asyncio.create_task(self._run(), name="reconcile")

    async def stop(self) -> None:
        """Ends a look that is under way: the next start looks again."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    async def _run(self) -> None:
        while True:
            self._signal.clear()
            again = self.settings().every
            try:
                again = min(again, await self.turn())
            except StoreError as e:
                log.warning("the store is away: nothing is reconciled", extra={"error": str(e)})
            except Exception:  # a defect of a look must not end the looks: the next one may find another world
                log.exception("a look at Alertmanager failed in a way that nobody foresaw")
            await self.clock.wait(self._signal, self.clock.now() + again)

    async def turn(self) -> timedelta:
        """One look, and what follows from it. Returns when to look again at the latest. Raises `StoreError`."""
        async with self._turn:
            client = self.ask()
            if client is None:
                return self.settings().every
            here = [a async for a in self._open()]
            look = await client.look()
            self._note(look)
            if look is None:
                self.memory.missing, self.memory.unheard = {}, {}
                return await self._unreachable(here)
            before = set(self.memory.receivers)
            for body in slices(compare(here, look, self.memory, self.settings())):
                await self.accept("reconcile", msgspec.json.encode(body))
            if self.memory.receivers != before:
                names = msgspec.json.encode(sorted(self.memory.receivers)).decode()
                await self.store.set_meta(RECEIVERS_META, names)
            return await self._keep(client, look, here)

    def _note(self, look: Look | None) -> None:
        self.looked(look is not None)
        if (look is None) != self._away:
            self._away = look is None
            if self._away:
                log.error("no Alertmanager answers: what is open here stays open")
            else:
                log.info("Alertmanager answers again")

    async def _open(self) -> AsyncIterator[Alert]:
        after = ("", "")
        while page := await self.store.firing(after, PAGE):
            after = (page[-1].incident, page[-1].identity)
            for alert in page:
                yield alert

    async def _incidents(self, here: Sequence[Alert], look: Look | None) -> dict[str, Incident]:
        """Those whose silence may have to be kept: their alerts are silenced through alertbot, or ours stand there."""
        wanted = {a.incident for a in here if a.silence is not None and a.silence.made_here}
        if look is not None:
            ours = re.compile(re.escape(mark(self.settings().page, "")[:-1]) + r"([\w-]+)\)$")
            active = (s for s in look.silences.values() if s.status.state != "expired")
            wanted |= {found[1] for s in active if (found := ours.search(s.comment)) is not None}
        if not wanted:
            return {}
        loaded = await self.store.load(Keys(incidents=frozenset(wanted)))
        return {i.id: i for i in loaded.incidents}

    async def _unreachable(self, here: Sequence[Alert]) -> timedelta:
        """What is silenced is muted here, and says so."""
        waiting = [
            i for i in (await self._incidents(here, None)).values() if i.silence is not None and not i.silence.kept
        ]
        for incident in waiting:
            await self._tell(incident, 0, "no Alertmanager answers")
        return AGAIN if waiting else self.settings().every

    async def _keep(self, client: Alertmanager, look: Look, here: Sequence[Alert]) -> timedelta:
        """Makes, extends and ends silences, incident by incident."""
        again = self.settings().every
        by_incident: dict[str, list[Alert]] = {}
        for alert in here:
            by_incident.setdefault(alert.incident, []).append(alert)
        for incident in (await self._incidents(here, look)).values():
            what = plan(incident, by_incident.get(incident.id, []), look, self.settings().page)
            if what.ended:
                body = ReconcileBody(ended=what.ended)
                await self.accept("reconcile", msgspec.json.encode(body))
            try:
                await self._carry_out(client, incident, what, look.at)
            except (Unreachable, Refused) as e:
                log.warning(
                    "a silence could not be kept in Alertmanager", extra={"incident": incident.id, "error": str(e)}
                )
                if incident.silence is not None:
                    await self._tell(incident, what.kept - len(what.make), str(e))
                again = AGAIN
            else:
                if incident.silence is not None and what.kept:
                    problem = f"{what.left_out} alerts more than Alertmanager is given" if what.left_out else ""
                    await self._tell(incident, what.kept, problem)
        return again

    async def _carry_out(self, client: Alertmanager, incident: Incident, what: Plan, now: datetime) -> None:
        for silence_id in what.expire:
            await client.expire(silence_id)
        own = incident.silence
        if own is None:
            return
        ends_at = end_of(own, now)
        lasts = " until it is resolved" if own.until is None else ""
        why = own.comment or "no reason given"
        said = f"{why} (silenced through alertbot{lasts}:{mark(self.settings().page, incident.id)}"
        for silence in what.extend:
            await client.silence(silence.matchers, silence.starts_at, ends_at, own.by, said, silence.id)
        for matchers in what.make:
            await client.silence(matchers, now, ends_at, own.by, said)

    async def _tell(self, incident: Incident, kept: int, problem: str) -> None:
        own = incident.silence
        if own is not None and (own.kept, own.problem) != (kept, problem):
            body = SilenceKeptBody(incident.id, kept, problem)
            await self.accept("silence_kept", msgspec.json.encode(body))
