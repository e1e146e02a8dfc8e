"""What became of an act, told to whoever did it: from the incident as it is after the decision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from alertbot import render
from alertbot.commands.base import Act, Person
from alertbot.domain.explain import sentence
from alertbot.domain.model import Entry, Incident, IncidentStatus
from alertbot.domain.reasons import Reason

_S = IncidentStatus

#: What each act is called in a sentence; `{what}` is the incident's title.
DONE: Final = {
    "acknowledge": "You acknowledged {what}.",
    "resolve": "You resolved {what}. If it still fires, it opens again after a while.",
    "note": "Your note on {what} is written down.",
    "assign": "{what} is with {to} now.",
    "unsilence": "{what} is heard again.",
    "silence": "The silence of {what} is asked for. Its card says when it holds.",
    "escalate": "The next receiver of the escalation policy is brought in for {what}.",
}

#: The decisions that say why such an act came to nothing.
_NOTHING_TO_DO: Final = frozenset({Reason.NO_ESCALATION, Reason.OUT_OF_STEPS, Reason.NOT_OPEN})


@dataclass(frozen=True, slots=True)
class Outcome:
    """`done`: what was wanted is so. Where it is not, `text` says what happened meanwhile."""

    done: bool
    text: str


def outcome(
    act: Act, incident: Incident | None, who: Person, at: datetime, now: datetime, record: Sequence[Entry] = ()
) -> Outcome:
    """`at` is when the act was taken in: what the incident has been since before that is somebody else's doing.

    `record` are the last lines about it, for what the incident itself does not show.
    """
    if incident is None:
        return Outcome(False, f"There is no incident {render.cut(render.one_line(act.incident), 100)}.")
    what = render.title(incident)
    done = Outcome(True, DONE[act.kind].format(what=what, to=act.more.get("to") or ""))
    if act.kind == "note":
        return done
    state = state_of(incident, who, now)
    if act.kind == "resolve" and incident.status is _S.RESOLVED:
        mine = who.is_called(incident.resolved_by) and _since(incident.resolved_at, at)
        return done if mine else Outcome(False, f"{what}: {state}.")
    if act.kind in ("acknowledge", "assign") and incident.status is _S.ACKNOWLEDGED:
        wanted = who.is_called(incident.acknowledged_by) if act.kind == "acknowledge" else True
        mine = wanted and _since(incident.acknowledged_at, at)
        return done if mine else Outcome(False, f"{what}: {state}.")
    if act.kind == "unsilence":
        return done if incident.silence is None else Outcome(False, f"{what} is still silenced.")
    if act.kind in ("silence", "escalate") and incident.told:
        refused = [e for e in record if e.reason in _NOTHING_TO_DO and e.by == who.by and e.at >= at]
        return Outcome(False, f"{what}: {sentence(refused[-1])}.") if refused else done
    return Outcome(False, f"{what}: {state}.")


def state_of(incident: Incident, who: Person, now: datetime) -> str:
    """How an incident stands, and who brought it there when."""
    match incident.status:
        case _S.ACKNOWLEDGED:
            by, ago = _name(incident.acknowledged_by, who), _ago(incident.acknowledged_at, now)
            return f"{by} silenced it{ago}, and nobody has it" if incident.quieted else f"{by} acknowledged it{ago}"
        case _S.RESOLVED:
            if incident.resolved_by:
                return f"{_name(incident.resolved_by, who)} resolved it{_ago(incident.resolved_at, now)}"
            return f"it was over{_ago(incident.resolved_at, now)}"
        case _S.OPEN:
            return f"it is open{_ago(incident.opened_at, now, 'since')}, and nobody has it"
        case _:
            return f"it is {incident.status.value}: nobody was told of it yet"


def _since(then: datetime | None, at: datetime) -> bool:
    return then is not None and then >= at


def _ago(then: datetime | None, now: datetime, word: str = "") -> str:
    if then is None:
        return ""
    return f" for {render.since(then, now)}" if word else f" {render.ago(then, now)}"


def _name(by: str | None, who: Person) -> str:
    return "you" if who.is_called(by) else render.cut(render.one_line(by or "somebody"), 100)
