"""Slack: one card an incident and channel, kept up to date in place; what changed goes into its thread.

chat.postMessage is not idempotent. So that a card or reply is there once, whatever is lost between Slack's
answer and our record, each carries metadata by which it is found before one that may be there is posted.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

import aiohttp

from alertbot.domain.budgets import SLACK_POSTS, SLACK_UPDATES
from alertbot.domain.model import Action, IncidentStatus
from alertbot.notifiers.base import DryRun, Failed, Job, Later, Limiter, Result, Retry, Sent, Unlimited
from alertbot.notifiers.slack_api import KNOWN, Kind, LostError, RefusedError, SlackApi
from alertbot.notifiers.slack_blocks import Message, Renderer

log = logging.getLogger("alertbot.notifiers.slack")

#: The `event_type` of our messages' metadata, and the kinds in `event_payload.kind`.
EVENT_TYPE: Final = "alertbot_incident"
CARD, NEWS, REMIND, TOLD = "card", "news", "remind", "told"

#: All calls of one attempt together take no longer: the outbox waits longer, and so hears how far we got.
ATTEMPT_SECONDS: Final = 45.0
#: A request that was given up may still be on its way through Slack: we look for it no sooner than this.
SETTLE: Final = timedelta(seconds=5)
#: Clocks differ: how much earlier than by our clock a message of ours may have been posted by Slack's.
SKEW: Final = timedelta(minutes=5)
PAGE: Final = 200
PAGES: Final = 20
#: Where alertbot may not read the channel, no waiting mends it, and after so many failed attempts it posts
#: without having looked. A second card is a nuisance, and says that it may be one; a page that nobody sees is
#: what alertbot is there to prevent. A look that failed for the moment (rate limit, timeout) is repeated.
LOOKS: Final = 5

#: Methods with a budget of ours; the others are called when something went wrong.
_LIMITED: Final = frozenset({"chat.postMessage", "chat.update"})
_ID: Final = re.compile(r"[CGD][A-Z0-9]{6,}")


class _NotYetError(Exception):
    """The budget of a method is used up until then."""

    def __init__(self, method: str, until: datetime, error: str = "") -> None:
        super().__init__(f"{method} not before {until.isoformat()}")
        self.until = until
        self.error = error
        self.lane = method != "chat.update"  # what has to be known before a post holds back the posts behind it too


class _BlindError(Exception):
    """We cannot find out whether a message is there, and must not post it before `LOOKS` is used up."""


@dataclass(frozen=True, slots=True)
class _Found:
    """A message of ours that is there already."""

    channel: str
    ts: str
    payload: Mapping[str, Any]


class SlackNotifier:
    """One channel of one workspace, over a session that the workspace's channels share.

    `channel` is a name (`#ops`) or an ID. `mentions` are added to the open card and to broadcast replies;
    ValueError if one is not a mention. `buttons` are the acts that a card offers, where the incident's state has a use
    for them. Without a token it runs dry. `timeout` bounds each call, in seconds.

    Needs the scopes chat:write and channels:history (groups:history in private channels). With channels:join
    it joins a public channel by itself; with channels:read (groups:read) it finds the ID of a channel's name.
    """

    def __init__(
        self,
        token: str | None,
        channel: str,
        *,
        session: aiohttp.ClientSession | None = None,
        base_url: str = "https://slack.com/api/",
        mentions: Sequence[str] = (),
        timeout: float = 10.0,
        limiter: Limiter | None = None,
        buttons: Collection[str] = (),
    ) -> None:
        self.dry: str | None = None if token else "slack_bot_token"
        self._token = token or ""
        self.limiter = limiter or Unlimited()
        self.workspace = hashlib.sha256(self._token.encode()).hexdigest()[:12]
        self.channel = channel
        self.renderer = Renderer(mentions, buttons)
        self.channel_id = channel if _ID.fullmatch(channel) else ""
        self.api = SlackApi(self._token, session=session, base_url=base_url, timeout=timeout)

    async def deliver(self, job: Job) -> Result:
        """See `Notifier`. A card that was deleted is posted anew, at most once an attempt."""
        if self.dry is not None:
            return DryRun(f"{self.channel}: {self.renderer.summary(job)}")
        result = await _Attempt(self, job).run()
        if isinstance(result, Retry | Failed) and self._token in result.error:
            # A proxy that repeats the request in its error page.
            return replace(result, error=result.error.replace(self._token, "[redacted]"))
        return result

    async def close(self) -> None:
        """The session is the workspace's: whoever made it closes it."""


class _Attempt:
    """One attempt at one job: what was achieved is in `remote`, also where it fails half way."""

    def __init__(self, notifier: SlackNotifier, job: Job) -> None:
        self.notifier = notifier
        self.job = job
        self.remote = dict(job.delivery.remote)
        self.channel = self.remote.get("channel") or notifier.channel_id
        #: Something may be there that we do not know of.
        self.uncertain = job.delivery.uncertain
        self.blind = False
        self._paid: set[str] = set()
        self._until = asyncio.get_running_loop().time() + ATTEMPT_SECONDS

    async def run(self) -> Result:
        """Brings the channel up to date, and says how far it got."""
        try:
            if self.job.action is Action.REMIND:
                await self._remind()
            elif self.job.told is not None:
                await self._tell()
            else:
                await self._show()
        except RefusedError as e:
            return self._refused(e)
        except LostError as e:
            uncertain = self.uncertain or e.perhaps_done
            # Later on the outbox waits for longer than that by itself.
            after = SETTLE if e.perhaps_done and self.job.delivery.attempts < 3 else None
            return Retry(str(e), after=after, uncertain=uncertain, remote=self.remote)
        except _BlindError as e:
            return Retry(str(e), uncertain=True, remote=self.remote)
        except _NotYetError as e:
            return Later(e.until, lane=e.lane, error=e.error, uncertain=self.uncertain, remote=self.remote)
        return Sent(self.remote, f"{self.remote['channel']}/{self.remote['ts']}" if "ts" in self.remote else "")

    def _refused(self, e: RefusedError) -> Result:
        if e.kind in (Kind.LATER, Kind.CARD_GONE):
            return Retry(e.for_people(), after=e.after, uncertain=self.uncertain or e.perhaps_done, remote=self.remote)
        if self.remote.get("ts") != self.job.delivery.remote.get("ts"):
            # A failure keeps nothing: first remember the card that is there now.
            return Retry(e.for_people(), uncertain=self.uncertain, remote=self.remote)
        return Failed(e.for_people())

    # The card.

    async def _show(self) -> None:
        job = self.job
        ts = self.remote.get("ts")
        fresh = ts is None
        if ts is not None:
            # What was edited before the budget for its reply was used up is not edited again.
            level = job.delivery.want.level
            edited = f"{level.revision}.{level.found}"
            if self.remote.get("card_revision") != edited or job.delivery.attempts:
                fresh = await self._update_or_replace(ts)
                self.remote["card_revision"] = edited
            else:
                fresh = False
        else:
            found = await self._find_card() if self.uncertain else None
            if found is not None:
                self._keep(found.channel, found.ts)
                await self._update(found.ts)
            elif job.delivery.want.level.status is not IncidentStatus.RESOLVED:
                await self._post_card()
            else:
                return  # it opened and closed with nobody told: there is nothing to take back
        if not fresh:
            await self._tell_news()
        self._told()

    async def _update_or_replace(self, ts: str) -> bool:
        """Edits the card, or where that cannot be done any more posts another. Whether it is another."""
        try:
            await self._update(ts)
        except RefusedError as e:
            if e.kind is not Kind.CARD_GONE:
                raise
            log.warning("a card cannot be edited, and is replaced: %s", e.error, extra={"incident": self._incident})
            found = await self._find_card(newer_than=ts) if self.uncertain else None
            if found is None:
                await self._post_card()
                return True
            self._keep(found.channel, found.ts)
            await self._update(found.ts)
        return False

    async def _update(self, ts: str) -> None:
        card = self.notifier.renderer.card(self.job)
        await self._send("chat.update", {"channel": self.channel, "ts": ts}, card, self._metadata(CARD))

    async def _post_card(self) -> None:
        card = self.notifier.renderer.card(self.job, second=self.blind)
        answer = await self._post({}, card, self._metadata(CARD))
        self._keep(str(answer.get("channel") or self.channel), str(answer.get("ts") or ""))

    def _keep(self, channel: str, ts: str) -> None:
        self.channel = self.remote["channel"] = channel
        self.remote["ts"] = ts
        if not self.notifier.channel_id:
            self.notifier.channel_id = channel

    # The thread.

    async def _tell_news(self) -> None:
        """What changed since the destination was last up to date, as one reply."""
        job = self.job
        revision = job.delivery.want.level.revision
        if int(self.remote.get("thread_revision", "-1")) >= revision:
            return
        told_until = _time(self.remote.get("news_until"))
        for there in await self._said(NEWS) if self.uncertain else ():
            if there.payload.get("revision") == revision:
                return
            # An earlier reply whose arrival we were not told of: what it says is not said again.
            told_until = max(filter(None, (told_until, _time(there.payload.get("until")))), default=None)
        entries = [e for e in job.news if told_until is None or e.at > told_until]
        reply = self.notifier.renderer.news(job, entries)
        if reply is None:
            return
        metadata = self._metadata(NEWS, revision=revision, until=job.delivery.want.at.isoformat())
        try:
            await self._reply(self.remote["ts"], reply, metadata)
        except RefusedError as e:
            if e.kind is not Kind.THREAD:
                raise
            # The card is right. What people must see now goes into the channel; the details are on the page.
            log.warning("no reply in the card's thread: %s", e.error, extra={"incident": self._incident})
            if reply.broadcast:
                await self._post({}, reply, metadata)

    def _told(self) -> None:
        want = self.job.delivery.want
        self.remote["thread_revision"] = str(want.level.revision)
        self.remote["news_until"] = want.at.isoformat()

    async def _remind(self) -> None:
        """A reply to the card that the channel sees too; where no card is found, a message by itself."""
        number = self.job.delivery.want.level.revision
        card = self.job.card.get("ts", "")
        if card:
            self.channel = self.job.card["channel"]
            self.remote.update(channel=self.channel, ts=card)
        if self.uncertain:
            there = await self._said(REMIND)
            if any(message.payload.get("revision") == number for message in there):
                return
        message = self.notifier.renderer.reminder(self.job, await self._mention())
        metadata = self._metadata(REMIND, revision=number)
        try:
            if card:
                await self._reply(card, message, metadata)
                return
        except RefusedError as e:
            if e.kind is not Kind.THREAD:
                raise
            self.remote.pop("ts", None)
        await self._post({}, message, metadata)

    async def _tell(self) -> None:
        """A verdict or a notice: a message of its own, once."""
        number = self.job.delivery.want.level.revision
        there = await self._said(TOLD) if self.uncertain else []
        if any(message.payload.get("revision") == number for message in there):
            return
        answer = await self._post({}, self.notifier.renderer.told(self.job), self._metadata(TOLD, revision=number))
        self._keep(str(answer.get("channel") or self.channel), str(answer.get("ts") or ""))

    async def _mention(self) -> str:
        """Of the one who acknowledged, where Slack knows the address; a reminder goes out in any case."""
        by = self.job.incident.acknowledged_by or ""
        if self.job.incident.status is not IncidentStatus.ACKNOWLEDGED or "@" not in by:
            return ""
        try:
            found = await self._call("users.lookupByEmail", {"email": by})
        except (RefusedError, LostError) as e:
            log.warning("the one who acknowledged is not mentioned: %s", e, extra={"incident": self._incident})
            return ""
        return f"<@{(found.get('user') or {}).get('id', '')}>"

    async def _reply(self, ts: str, message: Message, metadata: Mapping[str, Any]) -> None:
        await self._post({"thread_ts": ts, "reply_broadcast": message.broadcast or None}, message, metadata)

    # Looking for what may be there.

    async def _find_card(self, *, newer_than: str = "") -> _Found | None:
        """The newest card of this delivery that is there."""
        since = self.job.delivery.created_at or self.job.incident.created_at
        oldest = newer_than or _ts(since - SKEW)
        there = await self._look("conversations.history", {"oldest": oldest}, CARD, self._mine)
        there = [message for message in there if _order(message.ts) > _order(newer_than)]
        return max(there, key=lambda message: _order(message.ts), default=None)

    async def _said(self, kind: str) -> list[_Found]:
        """Replies of this delivery since its last success; the thread's, or else those in the channel."""
        delivery = self.job.delivery
        oldest = _ts((delivery.sent_at or delivery.created_at or self.job.incident.created_at) - SKEW)
        found: list[_Found] = []
        if "ts" in self.remote:
            args = {"ts": self.remote["ts"], "oldest": oldest}
            found = await self._look("conversations.replies", args, kind, self._mine)
        return found or await self._look("conversations.history", {"oldest": oldest}, kind, self._mine)

    async def _look(self, method: str, args: Mapping[str, Any], kind: str, wanted: Mapping[str, Any]) -> list[_Found]:
        """Our messages of a kind. Where we may not look at all: `_BlindError`, and after `LOOKS` none."""
        expected = {"incident": self._incident, "kind": kind, **wanted}
        found: list[_Found] = []
        try:
            self.channel = self.channel or await self._resolve()
            async for message in self._pages(method, {"channel": self.channel, **args}):
                metadata = message.get("metadata") or {}
                payload = metadata.get("event_payload") or {}
                ours = metadata.get("event_type") == EVENT_TYPE
                if ours and all(payload.get(k) == v for k, v in expected.items()):
                    found.append(_Found(self.channel, str(message.get("ts")), payload))
        except RefusedError as e:
            if e.kind is Kind.LATER and e.error in KNOWN:
                raise
            if method == "conversations.replies" and e.kind in (Kind.THREAD, Kind.CARD_GONE):
                return []
            if self.job.delivery.attempts < LOOKS:
                raise _BlindError(f"not known whether it arrived, so not posted again: {e.for_people()}") from None
            log.warning("posted without having looked: %s", e, extra={"incident": self._incident})
            self.blind = True
        return found

    async def _pages(self, method: str, args: Mapping[str, Any]) -> AsyncIterator[Mapping[str, Any]]:
        """All messages of a history or thread, page by page."""
        cursor: str | None = None
        for _ in range(PAGES):
            answer = await self._call(method, {**args, "include_all_metadata": True, "limit": PAGE, "cursor": cursor})
            for message in answer.get("messages") or ():
                yield message
            cursor = (answer.get("response_metadata") or {}).get("next_cursor") or None
            if cursor is None:
                return
        raise RefusedError(method, "too_many_messages_to_look_through", after=None, perhaps=False)

    async def _resolve(self) -> str:
        """The ID of a channel that is given by name: history, replies and updates take nothing else."""
        if self.notifier.channel_id:
            return self.notifier.channel_id
        name = self.notifier.channel.removeprefix("#")
        try:
            found = await self._listed(name, "public_channel,private_channel")
        except RefusedError as e:
            if e.error != "missing_scope":
                raise
            found = await self._listed(name, "public_channel")
        self.notifier.channel_id = found
        return found

    async def _listed(self, name: str, types: str) -> str:
        cursor: str | None = None
        for _ in range(PAGES):
            args = {"types": types, "exclude_archived": True, "limit": 1000, "cursor": cursor}
            answer = await self._call("conversations.list", args)
            for channel in answer.get("channels") or ():
                if name in (channel.get("name"), channel.get("name_normalized")):
                    return str(channel["id"])
            cursor = (answer.get("response_metadata") or {}).get("next_cursor") or None
            if cursor is None:
                break
        raise RefusedError("conversations.list", "channel_not_found", after=None, perhaps=False)

    # Sending.

    @property
    def _incident(self) -> str:
        return self.job.incident.id

    @property
    def _mine(self) -> dict[str, Any]:
        return {"delivery": _short(self.job.delivery.id)}

    def _metadata(self, kind: str, **more: Any) -> dict[str, Any]:
        """By what a message is found again. Everybody in the workspace can read it: no label stands in it."""
        payload = {"incident": self._incident, **self._mine, "kind": kind, **more}
        return {"event_type": EVENT_TYPE, "event_payload": payload}

    async def _post(self, target: Mapping[str, Any], message: Message, metadata: Mapping[str, Any]) -> dict[str, Any]:
        """Posts; where the bot is not in a public channel, joins it first, if it may."""
        to = {
            "channel": self.channel or self.notifier.channel,
            "unfurl_links": False,
            "unfurl_media": False,
            **target,
        }
        to["mrkdwn"] = False  # of the fallback text; blocks say it for themselves
        try:
            return await self._send("chat.postMessage", to, message, metadata)
        except RefusedError as e:
            if e.error != "not_in_channel":
                raise
            refused = e
        try:
            self.channel = self.channel or await self._resolve()
            await self._call("conversations.join", {"channel": self.channel})
        except RefusedError as e:
            raise (e if e.kind is Kind.LATER and e.error in KNOWN else refused) from None
        return await self._send("chat.postMessage", {**to, "channel": self.channel}, message, metadata)

    async def _send(
        self, method: str, target: Mapping[str, Any], message: Message, metadata: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Sends a message; one that Slack will not take for what it holds is sent again as mere text, once.

        On update `parse` is "client" unless it is given, and text without blocks takes the blocks away: that
        is wanted of mere text, and of nothing else.
        """
        body: dict[str, Any] = {"text": message.text, "blocks": list(message.blocks), "metadata": metadata}
        spoiled: set[Kind] = set()
        while True:
            try:
                return await self._call(method, {**target, **body, "parse": "none", "link_names": False})
            except RefusedError as e:
                if e.kind not in (Kind.CONTENT, Kind.METADATA) or e.kind in spoiled:
                    raise
                spoiled.add(e.kind)
                log.error("Slack refuses a message: %s", e.error, extra={"incident": self._incident})
                if e.kind is Kind.METADATA:
                    del body["metadata"]
                else:
                    body |= {"text": message.plain, "blocks": [] if method == "chat.update" else None}

    async def _call(self, method: str, args: Mapping[str, Any]) -> dict[str, Any]:
        left = self._until - asyncio.get_running_loop().time()
        if left <= 0:
            raise LostError(f"Slack is slow: not all of it was done in {ATTEMPT_SECONDS:.0f} s", perhaps=False)
        closed = f"slack:{self.notifier.workspace}:{method}:{self.notifier.channel}"
        if method in _LIMITED and method not in self._paid:
            await self._spend(method, closed)
        try:
            return await self.notifier.api.call(method, args, seconds=left)
        except RefusedError as e:
            if e.after is not None and (method in _LIMITED or e.kind is Kind.LATER):
                # Slack's own word on its rate: this method in this channel waits, and nothing has failed.
                raise _NotYetError(method, await self.notifier.limiter.put_off(closed, e.after), str(e)) from None
            self._paid.add(method)  # what stands in for a message that was refused is one call with it
            raise
        except LostError as e:
            # Only a post is there twice if it is done twice.
            raise LostError(str(e), perhaps=e.perhaps_done and method == "chat.postMessage") from None

    async def _spend(self, method: str, closed: str) -> None:
        workspace = self.notifier.workspace
        if method == "chat.postMessage":
            until = await self.notifier.limiter.spend(SLACK_POSTS, f"{workspace}:{self.notifier.channel}", 0, closed)
        else:
            until = await self.notifier.limiter.spend(SLACK_UPDATES, workspace, self.job.urgency, closed)
        if until is not None:
            raise _NotYetError(method, until)


def _ts(when: datetime) -> str:
    return f"{when.timestamp():.6f}"


def _short(delivery: str) -> str:
    """A delivery's id in metadata, whose size is limited: a receiver's name may be long."""
    return delivery if len(delivery) <= 200 else hashlib.sha256(delivery.encode()).hexdigest()


def _order(ts: str) -> tuple[int, int]:
    """By which messages are ordered: `ts` is a string, and a float would lose its last digits."""
    seconds, _, rest = ts.partition(".")
    return (int(seconds), int(rest)) if seconds.isdigit() and rest.isdigit() else (0, 0)


def _time(text: object) -> datetime | None:
    """A time that we wrote; None for anything else that stands there."""
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return found if found.tzinfo is not None else None
