"""The named causes of decisions.

A reason has one name, here. The same name is the log field, the metric label, the `reason` of a
timeline entry and of a replayed notification, and what `alertbot explain` spells out
(`alertbot.domain.explain`).
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why something was done or not done.

    What stands in the store may have come from a newer version: a reason that is not known here is kept as it is.
    """

    @classmethod
    def _missing_(cls, value: object) -> Reason | None:
        if not isinstance(value, str):
            return None
        unknown = str.__new__(cls, value)
        unknown._name_ = unknown._value_ = value
        return unknown

    # An alert, as it was reported.
    NEW_EPISODE = "new_episode"
    DUPLICATE = "duplicate"
    START_MOVED = "start_moved"
    STALE_FIRING = "stale_firing"
    STALE_RESOLVED = "stale_resolved"
    NEVER_FIRED_HERE = "never_fired_here"
    ALERT_RESOLVED = "alert_resolved"
    CUT_OFF = "cut_off"
    HEARD_AGAIN = "heard_again"

    # What a look at Alertmanager found.
    FOUND_THERE = "found_there"
    GONE_THERE = "gone_there"
    INHIBITED_THERE = "inhibited_there"

    # An alert or incident that waits, or waited.
    INHIBITED = "inhibited"
    HELD_BY_DEPLOY = "held_by_deploy"
    HELD_BY_MAINTENANCE = "held_by_maintenance"
    MUTED = "muted"
    RELEASED = "released"
    CLEARED_WHILE_HELD = "cleared_while_held"
    RESOLVED_BEFORE_NOTIFY = "resolved_before_notify"

    # A notification.
    FIRST_NOTIFICATION = "first_notification"
    HOLD_ENDED = "hold_ended"
    NEW_ALERT = "new_alert"
    SEVERITY_RAISED = "severity_raised"
    SOME_RESOLVED = "some_resolved"
    ALL_RESOLVED = "all_resolved"
    REFIRED = "refired"
    STILL_FIRING = "still_firing"
    ALERTS_CHANGED = "alerts_changed"
    REPEAT_INTERVAL = "repeat_interval"
    FLAPPING = "flapping"
    FLAPPING_ENDED = "flapping_ended"

    # What is late.
    ESCALATED = "escalated"
    NO_ESCALATION = "no_escalation"
    OUT_OF_STEPS = "out_of_steps"
    ACK_OVERDUE = "ack_overdue"
    NOT_RESOLVED = "not_resolved"
    # What was said of a deploy.
    DEPLOY_STARTED = "deploy_started"
    DEPLOY_RETRIED = "deploy_retried"
    DEPLOY_ENDED = "deploy_ended"
    DEPLOY_UPDATED = "deploy_updated"
    DEPLOY_HEARD_AGAIN = "deploy_heard_again"
    DEPLOY_STALE = "deploy_stale"
    NO_DEPLOY = "no_deploy"

    # A maintenance window.
    MAINTENANCE_STARTED = "maintenance_started"
    MAINTENANCE_EXTENDED = "maintenance_extended"
    MAINTENANCE_KNOWN = "maintenance_known"
    MAINTENANCE_ENDS_SOON = "maintenance_ends_soon"
    NO_SUCH_WINDOW = "no_such_window"
    WINDOW_OVER = "window_over"

    # Why a deploy or a maintenance window holds nothing any more.
    DEPLOY_SETTLED = "deploy_settled"
    DEPLOY_FAILED = "deploy_failed"
    DEPLOY_END_MISSING = "deploy_end_missing"
    DEPLOY_TRIED_AGAIN = "deploy_tried_again"
    TOO_MANY_HELD = "too_many_held"
    HELD_ALERT_WORSENED = "held_alert_worsened"
    MAINTENANCE_OVER = "maintenance_over"
    MAINTENANCE_ENDED = "maintenance_ended"
    ASKING_ALERTMANAGER = "asking_alertmanager"

    # A heartbeat.
    HEARTBEAT = "heartbeat"
    HEARTBEAT_RESOLVED = "heartbeat_resolved"

    # What PagerDuty tells.
    UNACKNOWLEDGED = "unacknowledged"
    REOPENED = "reopened"
    CHANGED_REMOTELY = "changed_remotely"
    REMOTE_ECHO = "remote_echo"
    REMOTE_STALE = "remote_stale"
    NOT_OURS = "not_ours"
    NOTHING_FIRES = "nothing_fires"

    # People.
    ACKNOWLEDGED = "acknowledged"
    ALREADY_ACKNOWLEDGED = "already_acknowledged"
    RESOLVED_BY_PERSON = "resolved_by_person"
    ALREADY_RESOLVED = "already_resolved"
    NOTE_ADDED = "note_added"
    ASSIGNED = "assigned"
    NOT_ALLOWED = "not_allowed"
    SILENCED = "silenced"
    SILENCE_KEPT = "silence_kept"
    SILENCE_ENDS_SOON = "silence_ends_soon"
    SILENCE_ENDED = "silence_ended"
    UNSILENCED = "unsilenced"
    NOT_SILENCED = "not_silenced"
    NOT_OPEN = "not_open"
    NO_SUCH_INCIDENT = "no_such_incident"
    NO_SUCH_RECEIVER = "no_such_receiver"
    TEST = "test"

    # The configuration.
    RECEIVER_REMOVED = "receiver_removed"
    POLICY_CHANGED = "policy_changed"

    # A delivery.
    SENT = "sent"
    DRY_RUN = "dry_run"
    RETRYING = "retrying"
    PARKED = "parked"
    NOTHING_TO_SEND = "nothing_to_send"
    FELL_BACK = "fell_back"
    FOLDED_INTO_STORM = "folded_into_storm"
    LEFT_STORM = "left_storm"
    STORM = "storm"


#: Changes that people are told of again although the incident is already open. Every other change of
#: an open incident only edits what is already there.
NEWS = frozenset(
    {Reason.NEW_ALERT, Reason.SEVERITY_RAISED, Reason.HOLD_ENDED, Reason.STILL_FIRING, Reason.SILENCE_ENDED}
)
