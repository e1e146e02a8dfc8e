"""The desk: what people do in Slack, whichever way it comes in, and what they hear of it.

Slack waits three seconds, and shows nothing of what comes later but what is sent to the `response_url` (five times
within 30 minutes [docs]). So an act is durable before Slack is answered, and what was decided follows. Of an act that
went as meant the card tells everybody; only whoever came too late, or may not, is told more, and alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Coroutine, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

import aiohttp
import msgspec

from alertbot.commands import views, words
from alertbot.commands.base import Act, Answer, Asked, Bot, Command, Look, Person, Rota, say
from alertbot.commands.incident import why_of
from alertbot.commands.once import Once
from alertbot.commands.outcome import Outcome, outcome
from alertbot.commands.people import People, UnknownMembersError
from alertbot.commands.runbook import of_incident, shown
from alertbot.commands.silence import span_of
from alertbot.domain.model import Incident
from alertbot.enrich.runbooks import Runbooks
from alertbot.notifiers.slack_api import LostError, RefusedError, SlackApi
from alertbot.notifiers.slack_blocks import ACTS, BUTTONS
from alertbot.sources import SOURCES, Parser
from alertbot.sources.slack import Press, SlashCommand, Submission
from alertbot.store.base import StoreError

log = logging.getLogger(__name__)

NOT_STORED: Final = "alertbot's store is away, and nothing was done. Try again in a moment."
NOT_IN_TIME: Final = (
    "alertbot could not store that in time. Look whether the card changes, and do it again if it does not."
)
#: What is not an event by itself: what those buttons show, or open.
SHOWN: Final = frozenset({"why", "runbook"})
DIALOGS: Final = frozenset({"note", "silence"})


def offered(sources: Collection[str] = SOURCES) -> frozenset[str]:
    """The buttons that something answers: those that show something, and those whose events somebody takes."""
    return frozenset(act for act in BUTTONS if act in SHOWN or act in sources)


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds. Together an answer must come well within Slack's three."""

    answered: float = 2.0
    """A command's answer; what takes longer follows."""
    stored: float = 2.0
    """Who it is, whether they may, and the event on disk."""
    told: float = 0.7
    """An answer to a response_url, where Slack still waits for us."""
    decided: float = 30.0
    """A decision, before whoever acted is told how things stand."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What the desk needs of the config. A reload replaces it. `may_act` is None where everybody may."""

    external_url: str
    severities: tuple[str, ...]
    commands: dict[str, Command]
    runbooks: Runbooks
    may_act: Collection[str] | None = None
    api: SlackApi | None = None
    rota: Rota | None = None


class NotTakenError(Exception):
    """Nothing was taken, and the person could not be told: Slack has to show that it failed."""


class _Kept(msgspec.Struct):
    """What a dialog keeps for us until it is submitted."""

    incident: str
    channel: str


class Desk:
    """See the module's text. `most` is how many answers may be under way at once."""

    def __init__(
        self,
        bot: Bot,
        terms: Terms,
        session: aiohttp.ClientSession | None = None,
        patience: Patience | None = None,
        most: int = 200,
        sources: Mapping[str, Parser] = SOURCES,
    ) -> None:
        self._bot = bot
        self._patience = patience or Patience()
        self.most = most
        self._sources = sources
        self._tasks: set[asyncio.Task[Any]] = set()
        self._once = Once(bot.store, bot.clock)
        self.terms = terms
        self.session = session
        self.take(terms)

    def take(self, terms: Terms) -> None:
        """A config: at the start, and at each reload."""
        if terms is not self.terms:
            self._release()
        self.terms = terms
        self.people = People(terms.api, self._bot.clock)
        self._look = Look(
            self._bot.store,
            external_url=terms.external_url,
            severities=terms.severities,
            runbooks=terms.runbooks,
            rota=terms.rota,
            person=self.people.person,
        )

    async def close(self) -> None:
        """Ends what is still being answered."""
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._release()

    def _release(self) -> None:
        if self.terms.rota is not None:
            self.terms.rota.close()

    async def idle(self) -> None:
        """Returns when nothing is being answered."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    # Commands.

    async def command(self, typed: SlashCommand, trace_id: str) -> dict[str, Any]:
        """The answer to a slash command, as Slack takes it: at once, or that it follows."""
        if len(self._tasks) >= self.most:
            return say("alertbot has too much to do at the moment. Try again in a minute.").message()
        task = asyncio.create_task(self._answer(typed, trace_id))
        self._keep(task)
        done, _ = await asyncio.wait({task}, timeout=self._patience.answered)
        if done:
            return task.result().message()
        self._spawn(self._follow(task, typed.response_url))
        return say("⏳ That takes a moment: the answer follows.").message()

    async def _follow(self, task: asyncio.Task[Answer], url: str) -> None:
        await self._send(url, await task)

    async def _answer(self, typed: SlashCommand, trace_id: str) -> Answer:
        """Runs a command. Whatever fails is an answer too."""
        name = typed.command.strip("/ ").lower()
        command = self.terms.commands.get(name)
        if command is None:
            known = ", ".join(f"/{c}" for c in self.terms.commands)
            return say(f"alertbot has no command /{words.bare(name)[:50]}. It has {known}.")
        text = words.tidy(typed.text)
        if words.bare(text).lower() == "help":
            return command.help
        who = await self.people.person(typed.user_id, typed.user_name)
        asked = Asked(text, who, typed.channel_id, typed.channel_name, self._bot.clock())
        try:
            found = await command.run(asked, self._look)
            if not isinstance(found, Act):
                return found
            # Slack sends a command again over a new socket where it did not hear us.
            if not await self._once.first(typed.trigger_id):
                return say("That is done already.")
            return await self._do_and_say(found, who, trace_id, typed.trigger_id)
        except StoreError:
            return say(NOT_STORED)
        except Exception:  # a defect of ours: whoever asked must hear that nothing will come
            log.exception("a command failed", extra={"command": name, "trace_id": trace_id})
            return say("That failed inside alertbot. Its log says why.")

    async def _do_and_say(self, act: Act, who: Person, trace_id: str, name: str) -> Answer:
        at = self._bot.clock()
        decided, refusal = await self._take(act, who, trace_id, name)
        if decided is None:
            return say(refusal)
        if act.done:
            await asyncio.wait({decided}, timeout=self._patience.decided)
            return say(act.done)
        return say((await self._outcome(act, who, at, decided)).text)

    # Buttons and dialogs.

    async def interaction(self, said: Press | Submission, trace_id: str) -> dict[str, Any] | None:
        """What Slack is answered: mostly nothing, which is well. Raises `NotTakenError`."""
        if len(self._tasks) >= self.most:
            raise NotTakenError
        if isinstance(said, Submission):
            return await self._submitted(said, trace_id)
        if not said.value:
            return None  # every button of ours has one
        if said.act in BUTTONS and said.act not in SHOWN | DIALOGS and said.act in self._sources:
            await self._pressed(said, trace_id)
        else:
            self._spawn(self._show(said, trace_id))
        return None

    async def _pressed(self, press: Press, trace_id: str) -> None:
        """An act by a press."""
        act, at = Act(press.act, press.value), self._bot.clock()
        # Two presses of one card as it stood are one act. Of the others only this one cannot tell by itself.
        tells = press.act != "escalate" or not press.block.startswith(ACTS)
        name = "" if tells else f"{press.act} {press.value} {press.block}"
        problem = NOT_STORED
        try:
            async with asyncio.timeout(self._patience.stored):
                who = await self.people.person(press.user.id, press.user.handle)
                if not await self._once.first(name):
                    self._spawn(self._send(press.response_url, say("Somebody has just done that.")))
                    return
                decided, refusal = await self._take(act, who, trace_id, name)
        except StoreError:
            pass
        except TimeoutError:
            problem = NOT_IN_TIME
        else:
            if decided is None:
                self._spawn(self._send(press.response_url, say(refusal)))
            else:
                self._spawn(self._tell_if_late(act, who, at, decided, press.response_url))
            return
        if not await self._send(press.response_url, say(problem), self._patience.told):
            raise NotTakenError

    async def _tell_if_late(self, act: Act, who: Person, at: datetime, decided: asyncio.Future[None], url: str) -> None:
        """Of what went as meant the card tells everybody."""
        try:
            found = await self._outcome(act, who, at, decided)
        except StoreError:
            return  # it is durable, and the card will tell
        if not found.done:
            await self._send(url, say(found.text))

    async def _show(self, press: Press, trace_id: str) -> None:
        """What changes nothing: it is shown to whoever pressed, or opens a dialog."""
        try:
            answer = await self._shown(press, trace_id)
        except StoreError:
            answer = say("alertbot's store is away. Try again in a moment.")
        except (RefusedError, LostError) as e:
            log.warning("a dialog could not be opened: %s", e)
            answer = say("Slack did not open the dialog in time. Press again.")
        except Exception:  # as for a command
            log.exception("a press failed", extra={"act": press.act, "trace_id": trace_id})
            answer = say("That failed inside alertbot. Its log says why.")
        if answer is not None:
            await self._send(press.response_url, answer)

    async def _shown(self, press: Press, trace_id: str) -> Answer | None:
        who = await self.people.person(press.user.id, press.user.handle)
        now = self._bot.clock()
        match press.act:
            case views.SHARE if await self._once.first(name := f"{views.SHARE} {press.message} {press.value}"):
                self._spawn(self._once.done(name))
                return replace(shown(press.value, self._look, f"{who.name} shows a runbook"), shared=True)
            case views.CHOOSE:
                return replace(shown(press.value, self._look), replaces=True)
            case "why" | "runbook" | "note" | "silence":
                incident = await self._bot.store.incident(press.value)
                if incident is None:
                    return say("This incident is not there any more: it is older than what alertbot keeps.")
            case _:
                return None
        if press.act == "why":
            return await why_of(incident, who, now, self._look)
        if press.act == "runbook":
            return await of_incident(incident, self._look)
        return await self._open_dialog(press, incident, who, trace_id)

    async def _open_dialog(self, press: Press, incident: Incident, who: Person, trace_id: str) -> Answer | None:
        if press.act not in self._sources:
            return None
        refusal = await self._refusal(Act(press.act, incident.id), who, trace_id)
        if refusal:
            return say(refusal)
        kept = msgspec.json.encode(_Kept(incident.id, press.channel)).decode()
        make = views.note_dialog if press.act == "note" else views.silence_dialog
        if self.terms.api is None:
            return say("There is no slack_bot_token: alertbot cannot open dialogs.")
        view = {"trigger_id": press.trigger_id, "view": make(incident, kept)}
        await self.terms.api.call("views.open", view, seconds=self._patience.stored)
        return None

    async def _submitted(self, sent: Submission, trace_id: str) -> dict[str, Any] | None:
        """A dialog: it closes when what was entered is durable, and else keeps it and says what is wrong."""
        if sent.dialog not in DIALOGS or sent.dialog not in self._sources:
            return None
        try:
            kept = msgspec.json.decode(sent.kept, type=_Kept)
        except msgspec.DecodeError:
            log.warning("a dialog is not one of ours", extra={"dialog": sent.dialog})
            return None
        more: dict[str, str]
        if sent.dialog == "note":
            field, more = "text", {"text": sent.given.get("text", "").strip()}
            if not more["text"]:
                return _errors("text", "Write something, or cancel.")
        else:
            field = "span"
            span, problem = span_of(sent.given.get("span", ""), sent.given.get("custom", ""))
            if problem:
                return _errors("custom", problem)
            more = {"duration": span, "comment": sent.given.get("comment", "").strip()}
        act, at = Act(sent.dialog, kept.incident, more), self._bot.clock()
        problem = NOT_STORED
        try:
            async with asyncio.timeout(self._patience.stored):
                who = await self.people.person(sent.user.id, sent.user.handle)
                # Slack sends a dialog again over a new socket where it did not hear us.
                if not await self._once.first(sent.view):
                    return None
                decided, refusal = await self._take(act, who, trace_id, sent.view)
        except StoreError:
            pass
        except TimeoutError:
            problem = NOT_IN_TIME
        else:
            if decided is not None:
                self._spawn(self._tell_late_by_post(act, who, at, decided, kept.channel))
                return None
            problem = refusal
        return _errors(field, problem)

    async def _tell_late_by_post(
        self, act: Act, who: Person, at: datetime, decided: asyncio.Future[None], channel: str
    ) -> None:
        """As `_tell_if_late`, for a dialog, which has no response_url."""
        try:
            found = await self._outcome(act, who, at, decided)
        except StoreError:
            return
        if found.done or self.terms.api is None or not channel:
            return
        answer = say(found.text)
        message = {"channel": channel, "user": who.id, "text": answer.text, "blocks": list(answer.blocks)}
        try:
            await self.terms.api.call("chat.postEphemeral", message, seconds=10.0)
        except (RefusedError, LostError) as e:
            log.warning("somebody could not be told that they came too late: %s", e)

    # Taking an act in.

    async def _take(self, act: Act, who: Person, trace_id: str, name: str) -> tuple[asyncio.Future[None] | None, str]:
        """Makes an act durable, if it is theirs: the future is done when it is decided. Else None, and why not; then
        what has this name was not done.

        Raises `StoreError`.
        """
        settle = self._once.forget
        try:
            refusal = await self._refusal(act, who, trace_id)
            if refusal:
                return None, refusal
            decided: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            await self._accept(act.kind, {"incident": act.incident, "by": who.by, **act.more}, trace_id, decided)
            settle = self._once.done
            return decided, ""
        finally:
            self._spawn(settle(name))

    async def _refusal(self, act: Act, who: Person, trace_id: str) -> str:
        """Why somebody may not act, recorded; empty where they may."""
        try:
            if await self.people.may_act(who, self.terms.may_act):
                return ""
            refusal = "You are not among those who may act on incidents here (slack.may_act in alertbot's config)."
        except UnknownMembersError:
            return "Slack does not say at the moment whether you may do that. Try again in a minute."
        log.warning("somebody may not act", extra={"user": who.id, "act": act.kind, "incident": act.incident})
        await self._accept("refused", {"incident": act.incident, "by": who.by, "act": act.kind}, trace_id, None)
        return refusal

    async def _accept(
        self, source: str, fields: Mapping[str, Any], trace_id: str, decided: asyncio.Future[None] | None
    ) -> None:
        body = msgspec.json.encode({**fields, "via": "slack"})
        parsed = self._sources[source](body, self._bot.clock())
        await self._bot.accept(source, body, parsed, trace_id, decided=decided)

    async def _outcome(self, act: Act, who: Person, at: datetime, decided: asyncio.Future[None]) -> Outcome:
        """What became of an act, once it is decided, or once it makes no sense to wait longer. Raises `StoreError`."""
        await asyncio.wait({decided}, timeout=self._patience.decided)
        incident = await self._bot.store.incident(act.incident)
        record = await self._look.record(act.incident, at - timedelta(milliseconds=1)) if incident is not None else ()
        return outcome(act, incident, who, at, self._bot.clock(), record)

    # Answering later.

    async def _send(self, url: str, answer: Answer, seconds: float = 10.0) -> bool:
        """Sends to a response_url; whether Slack took it. The address is as good as a password, and is not logged."""
        if self.session is None or not url:
            return False
        try:
            async with (
                asyncio.timeout(seconds),
                self.session.post(url, json=answer.message(), allow_redirects=False) as response,
            ):
                if response.status == 200:
                    return True
                log.warning("Slack does not take an answer any more", extra={"code": response.status})
        except (aiohttp.ClientError, TimeoutError, ValueError) as e:
            log.warning("an answer did not reach Slack", extra={"cause": type(e).__name__})
        return False

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        self._keep(asyncio.create_task(work))

    def _keep(self, task: asyncio.Task[Any]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _errors(field: str, what: str) -> dict[str, Any]:
    """A dialog stays open, with this below a field."""
    return {"response_action": "errors", "errors": {field: what}}
