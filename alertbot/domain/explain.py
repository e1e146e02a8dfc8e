"""What a reason means, in a sentence for a person."""

from __future__ import annotations

from typing import Final

from alertbot.domain.model import Entry
from alertbot.domain.reasons import Reason

_SENTENCES: Final[dict[Reason, str]] = {
    Reason.NEW_EPISODE: "the alert fires; the route {route} takes it, for {receiver}{waits}",
    Reason.DUPLICATE: "heard again, nothing new: a repeat, or the other Alertmanager of a pair",
    Reason.START_MOVED: "still the same episode: its start moved, and people were not told that it closed",
    Reason.STALE_FIRING: "a late report of an episode that is already closed: not taken for a new one",
    Reason.STALE_RESOLVED: "a late report of the end of an earlier episode: the alert fires again since",
    Reason.NEVER_FIRED_HERE: "resolved, and it never fired here: nothing to tell",
    Reason.ALERT_RESOLVED: "the alert is resolved",
    Reason.CUT_OFF: "cut off a truncated body whose rest is resolved: kept open, its state unknown",
    Reason.HEARD_AGAIN: "heard of again after it was cut off: it still fires",
    Reason.FOUND_THERE: "it fires in Alertmanager, by two looks at it, and was not open here: taken in",
    Reason.GONE_THERE: "no member of Alertmanager has it any more, by two looks at all of them: taken for resolved",
    Reason.INHIBITED_THERE: "Alertmanager inhibits it{comment}: no reminders meanwhile",
    Reason.INHIBITED: "held by the inhibit rule “{by}”{until}",
    Reason.HELD_BY_DEPLOY: "held by the inhibit rule “{by}” while a deploy goes on ({windows}){until}",
    Reason.HELD_BY_MAINTENANCE: "held by the inhibit rule “{by}” in a maintenance window ({windows}){until}",
    Reason.MUTED: "muted by the time interval “{by}”{until}",
    Reason.RELEASED: "no longer held by “{by}”",
    Reason.CLEARED_WHILE_HELD: "resolved while it was held by “{by}”: recorded, and never sent",
    Reason.RESOLVED_BEFORE_NOTIFY: "resolved before the group was notified: recorded, and never sent",
    Reason.FIRST_NOTIFICATION: "notified for the first time",
    Reason.HOLD_ENDED: "notified: what held it has ended, and it still fires",
    Reason.NEW_ALERT: "notified: a new alert joined",
    Reason.SEVERITY_RAISED: "notified: the severity rose",
    Reason.SOME_RESOLVED: "brought up to date: some alerts are resolved",
    Reason.ALL_RESOLVED: "closed: every alert that people were told of is resolved",
    Reason.REFIRED: "opened again: it fires again soon after it closed",
    Reason.STILL_FIRING: "opened again: it was resolved by a person and still fires",
    Reason.ALERTS_CHANGED: "brought up to date: its alerts changed",
    Reason.REPEAT_INTERVAL: "reminded: repeat_interval is over and nobody acknowledged",
    Reason.FLAPPING: "flapping: it opened and closed too often, so nobody is paged until it is quiet{changes}",
    Reason.FLAPPING_ENDED: "no longer flapping: what holds now is told again",
    Reason.ESCALATED: "escalated to {receiver}{asked}",
    Reason.NO_ESCALATION: "{by} wanted to escalate, but its route has no escalation policy",
    Reason.OUT_OF_STEPS: "{by} wanted to escalate, but every step of its escalation policy was taken",
    Reason.ACK_OVERDUE: "nobody acknowledged it within the time that its severity, {severity}, allows",
    Reason.NOT_RESOLVED: "{by} reminded: acknowledged for a while, and not resolved",
    Reason.DEPLOY_STARTED: "{by} says: a deploy of {service} {version} began",
    Reason.DEPLOY_RETRIED: "{by} says: the deploy of {service} {version} is tried again",
    Reason.DEPLOY_ENDED: "{by} says: the deploy of {service} {version} {status}",
    Reason.DEPLOY_UPDATED: "{by} says more of the deploy of {service} {version}",
    Reason.DEPLOY_HEARD_AGAIN: "{by} says of the deploy of {service} {version} what is known already",
    Reason.DEPLOY_STALE: "{by} tells late of an earlier try of the deploy of {service} {version}",
    Reason.NO_DEPLOY: "{by} tells of something that is no deploy",
    Reason.MAINTENANCE_STARTED: "{by} opened the maintenance window {window}{until}: {reason}",
    Reason.MAINTENANCE_EXTENDED: "{by} extended the maintenance window {window}{until}",
    Reason.MAINTENANCE_KNOWN: "{by} opened the maintenance window {window}, but it is known already",
    Reason.MAINTENANCE_ENDS_SOON: "the maintenance window ends soon, and something that it holds still fires",
    Reason.NO_SUCH_WINDOW: "{by} named a maintenance window that is not there: {window}",
    Reason.WINDOW_OVER: "{by} named the maintenance window {window}, but it is over",
    Reason.DEPLOY_SETTLED: "the deploy {deploy} is done, and the time to settle is over{left}",
    Reason.DEPLOY_FAILED: "the deploy {deploy} failed{left}",
    Reason.DEPLOY_END_MISSING: "the end of the deploy {deploy} was never reported: max_duration is over{left}",
    Reason.DEPLOY_TRIED_AGAIN: "the deploy {deploy} is tried again: what its earlier try held is released{left}",
    Reason.TOO_MANY_HELD: "the deploy held more alerts of one service than panic_threshold{many}: the hold ends{left}",
    Reason.HELD_ALERT_WORSENED: "an alert that the deploy held fires with a higher severity: the hold ends{left}",
    Reason.MAINTENANCE_OVER: "the maintenance window {window} is over{left}",
    Reason.MAINTENANCE_ENDED: "{by} ended the maintenance window {window}{left}",
    Reason.ASKING_ALERTMANAGER: "over: Alertmanager is asked what still fires before that is released",
    Reason.HEARTBEAT: "the heartbeat {by}: it is news only when it is missed",
    Reason.HEARTBEAT_RESOLVED: "the heartbeat {by} is said to be over: if nothing comes, it is missed after its period",
    Reason.UNACKNOWLEDGED: "the acknowledgement ended in PagerDuty, by {by}",
    Reason.REOPENED: "opened again in PagerDuty by {by}",
    Reason.CHANGED_REMOTELY: "{what} in PagerDuty, by {by}",
    Reason.REMOTE_ECHO: "PagerDuty told what is known here",
    Reason.REMOTE_STALE: "{change} in PagerDuty by {by}, told late: something else happened since",
    Reason.NOT_OURS: "PagerDuty told of an incident that is not ours: {remote}",
    Reason.NOTHING_FIRES: "{by} opened it again in PagerDuty, but nothing of it fires: it stays closed",
    Reason.ACKNOWLEDGED: "acknowledged by {by}",
    Reason.ALREADY_ACKNOWLEDGED: "{by} acknowledged, but it was acknowledged already",
    Reason.RESOLVED_BY_PERSON: "resolved by {by}",
    Reason.ALREADY_RESOLVED: "{by} resolved, but it was resolved already",
    Reason.NOTE_ADDED: "note by {by}: {note}",
    Reason.ASSIGNED: "{by} gave it to {to}",
    Reason.NOT_ALLOWED: "{by} may not {act} it: slack.may_act does not name them",
    Reason.SILENCED: "silenced by {by}{until}{comment}",
    Reason.SILENCE_KEPT: "silenced in Alertmanager: {kept}{problem}",
    Reason.SILENCE_ENDS_SOON: "the silence by {by} ends soon{until}, and it still fires: silence it anew, or take it",
    Reason.SILENCE_ENDED: "the silence is over, and it still fires",
    Reason.UNSILENCED: "the silence was ended by {by}",
    Reason.NOT_SILENCED: "{by} ended its silence, but it had none that was made through alertbot",
    Reason.NOT_OPEN: "{by} acted on it, but it is {status}, not open",
    Reason.NO_SUCH_INCIDENT: "{by} acted on an incident that is not there",
    Reason.NO_SUCH_RECEIVER: "{by} tested a receiver that is not there: {receiver}",
    Reason.TEST: "a test by {by}: nothing is wrong",
    Reason.RECEIVER_REMOVED: "its receiver “{by}” is no longer in the config: the root route's takes over",
    Reason.POLICY_CHANGED: "the config changed: looked at anew",
    Reason.SENT: "{action} sent to {integration} {to}",
    Reason.DRY_RUN: "{action} not sent to {integration} {to}, which has no credentials and runs dry: {said}",
    Reason.RETRYING: "{integration} {to} failed, and is tried again{until}: {error}",
    Reason.PARKED: "{integration} {to} will not take it: {error}",
    Reason.NOTHING_TO_SEND: "{integration} {to} need not hear of it any more",
    Reason.FOLDED_INTO_STORM: "no card or page of its own at {integration} {to} for now: {storm} stands in for it",
    Reason.LEFT_STORM: "{storm} is over at {integration} {to}: on its own again",
    Reason.STORM: "stands in for many at {integration} {to}",
    Reason.FELL_BACK: "every integration of {by} keeps failing: the fallback {receiver} stands in",
}


class _Blank(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return ""


def sentence(entry: Entry) -> str:
    """What an entry says, as one sentence without a full stop."""
    changes = f" ({entry.details['changes']} changes)" if "changes" in entry.details else ""
    until = f" until {entry.until:%Y-%m-%d %H:%M:%S} UTC" if entry.until else ""
    waits = f", after the wait for its group{until}" if until else ""
    asked = f" by {entry.by}" if entry.by else ": nobody acknowledged it in time"
    told = {"waits": waits, "by": entry.by or "somebody", "until": until, "changes": changes, "asked": asked}
    words = _Blank({**entry.details, **told})
    left = f"; {entry.details['left_to']} goes on to hold some of it" if "left_to" in entry.details else ""
    many = f" ({entry.details['held']} of {entry.details.get('service', '')})" if "held" in entry.details else ""
    comment = f": {entry.details['comment']}" if entry.details.get("comment") else ""
    said = {"waits": waits, "by": entry.by or "somebody", "until": until, "changes": changes}
    words = _Blank({**entry.details, **said, "left": left, "many": many, "comment": comment})
    return _SENTENCES.get(entry.reason, f"{entry.reason} (a newer alertbot's reason)").format_map(words)
