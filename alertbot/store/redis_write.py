"""How values become the steps of one transaction: worked out from what stands there, and taken only over that."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from alertbot.domain.deploys import Deploy
from alertbot.domain.model import Alert, Entry, Incident, Want
from alertbot.domain.windows import Window
from alertbot.store import codec
from alertbot.store.base import (
    Parked,
)
from alertbot.store.redis_client import NotAsBefore, Step
from alertbot.store.redis_link import Link
from alertbot.store.redis_rows import (
    alert_places,
    deploy_places,
    entry_places,
    gathered,
    incident_places,
    moved,
    numbered,
    numbered_row,
    parked_doc,
    place_of,
    put,
    put_entry,
    put_parked,
    read_number,
    row_places,
    window_places,
)
from alertbot.store.rows import Row, wanted

#: What becomes of a delivery's row; None: it is not there, or not to be touched.
Move = Callable[[Row | None], Row | None]


@dataclass(slots=True)
class Write:
    """What one transaction writes, before it is known what is there."""

    alerts: Sequence[Alert] = ()
    incidents: Sequence[Incident] = ()
    moves: Mapping[str, Move] = field(default_factory=dict)
    wants: Sequence[Want] = ()
    entries: Sequence[Entry] = ()
    parked: Sequence[Parked] = ()
    windows: Sequence[Window] = ()
    deploys: Sequence[Deploy] = ()
    more: Sequence[Step] = ()
    needs: str = ""
    """The delivery without whose move nothing is written."""


async def put_all(link: Link, write: Write, checks: Sequence[tuple[bytes, Step]] = ()) -> bool:
    """One transaction; False, and nothing written, where the move that it needs says so.

    Raises `NotAsBefore` for one of `checks`.
    """
    alerts = {place_of(a): a for a in write.alerts}
    incidents = {codec.key(i.id): i for i in write.incidents}
    rows = list(dict.fromkeys(codec.key(name) for name in (*write.moves, *(w.id for w in write.wants))))
    parked = {codec.key(p.id): p for p in write.parked}
    windows = {codec.key(w.id): w for w in write.windows}
    deploys = {codec.key(d.id): d for d in write.deploys}
    if not (alerts or incidents or rows or parked or windows or deploys or write.entries or write.more):
        return True
    numbers = len(incidents) + len(rows) + len(write.entries)
    questions: list[Step] = [
        ("docs", "alerts", *alerts),
        ("docs", "incidents", *incidents),
        ("docs", "rows", *rows),
        ("docs", "parked", *parked),
        ("docs", "windows", *windows),
        ("docs", "deploys", *deploys),
    ]
    while True:
        answers = await link.ask(*questions, ("HINCRBY", "counters", "numbers", numbers), digests=True)
        number = iter(range(answers[-1] - numbers + 1, answers[-1] + 1))
        steps: list[Step] = [*write.more]
        before = [None if old is None else codec.alert.decode(old) for old in answers[1]]
        for alert, known in zip(alerts.values(), before, strict=True):
            steps += _put_alert(known, alert)
        if any(k and _differs(k, alert) for k, alert in zip(before, alerts.values(), strict=True)):
            steps.append(("mark",))
        for incident, old in zip(incidents.values(), answers[3], strict=True):
            steps += _put_incident(old, incident, number)
        moved_rows = _move_rows(write, dict(zip(rows, answers[5], strict=True)), number)
        if moved_rows is None:
            return False
        steps += moved_rows
        for entry in write.entries:
            steps += put_entry(next(number), entry)
        for item, old in zip(parked.values(), answers[7], strict=True):
            steps += put_parked(None if old is None else parked_doc.decode(old), item)
        for window, old in zip(windows.values(), answers[9], strict=True):
            steps.append(put("windows", codec.key(window.id), codec.text(window)))
            gone = () if old is None else window_places(codec.window.decode(old))
            steps += moved(gone, window_places(window))
        for deploy, old in zip(deploys.values(), answers[11], strict=True):
            steps.append(put("deploys", codec.key(deploy.id), codec.text(deploy)))
            gone = () if old is None else deploy_places(codec.deploy.decode(old))
            steps += moved(gone, deploy_places(deploy))
        same = [(answers[2 * n], question) for n, question in enumerate(questions) if len(question) > 2]
        try:
            await link.take((*checks, *same), gathered(steps))
        except NotAsBefore as error:
            if error.check <= len(checks):
                raise
            continue
        return True


def if_there(move: Callable[[Row], Row]) -> Move:
    """The same move, for a row that may be gone."""
    return lambda row: None if row is None else move(row)


def _differs(old: Alert, new: Alert) -> bool:
    """More than that it was seen again."""
    return (old.status, old.current, old.labels) != (new.status, new.current, new.labels)


def _put_alert(old: Alert | None, new: Alert) -> Iterator[Step]:
    yield put("alerts", place_of(new), codec.text(new))
    yield from moved(() if old is None else alert_places(old), alert_places(new))


def drop_alert(alert: Alert) -> Iterator[Step]:
    """Forgets an alert."""
    yield "HDEL", "alerts", place_of(alert)
    yield from moved(alert_places(alert), ())


def _put_incident(old: bytes | None, new: Incident, numbers: Iterator[int]) -> Iterator[Step]:
    if old is None:
        seq = next(numbers)
        yield from moved((), incident_places(seq, new))
    else:
        seq, text = read_number(old)
        yield from moved(incident_places(seq, codec.incident.decode(text)), incident_places(seq, new))
    yield put("incidents", codec.key(new.id), numbered(seq, codec.text(new)))
    yield "HDEL", "woken", codec.key(new.id)


def put_row(seq: int, old: Row | None, new: Row | None) -> Iterator[Step]:
    """Writes or, with None, forgets a delivery."""
    yield from moved(() if old is None else row_places(seq, old), () if new is None else row_places(seq, new))
    if old is not None and (new is None or not new.delivery.lease):
        yield "HDEL", "leases", codec.key(old.delivery.id)
    if new is not None:
        yield put("rows", codec.key(new.delivery.id), numbered(seq, codec.text(new)))
    elif old is not None:
        yield "HDEL", "rows", codec.key(old.delivery.id)


def _move_rows(write: Write, docs: Mapping[str, bytes | None], numbers: Iterator[int]) -> list[Step] | None:
    """The steps of all moves and wants; None where the move that it needs says no."""
    before = {name: None if doc is None else numbered_row(doc) for name, doc in docs.items()}
    after = {name: None if found is None else found[1] for name, found in before.items()}
    for name, move in write.moves.items():
        row = move(after[codec.key(name)])
        if row is None and name == write.needs:
            return None
        after[codec.key(name)] = row or after[codec.key(name)]
    for want in write.wants:
        after[codec.key(want.id)] = wanted(after[codec.key(want.id)], want)
    steps: list[Step] = []
    for name, row in after.items():
        known = before[name]
        seq, old = (next(numbers), None) if known is None else known
        if row is not None and row is not old:
            steps += put_row(seq, old, row)
    return steps


def drop_entries(seqs: Sequence[int], docs: Sequence[bytes | None]) -> Iterator[Step]:
    """Forgets lines of the record."""
    for seq, doc in zip(seqs, docs, strict=True):
        if doc is not None:
            yield "HDEL", "entries", seq
            yield from moved(entry_places(seq, codec.entry.decode(doc)), ())
