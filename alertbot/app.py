"""The composition root: the one file that knows every part. Starts them in order, stops them in reverse."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import signal
import socket
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

import aiohttp
from aiohttp import web

import alertbot
from alertbot.alertmanager import Alertmanager
from alertbot.clock import Clock, SystemClock
from alertbot.commands import commands
from alertbot.commands.desk import Desk, Terms, offered
from alertbot.commands.socket import Socket
from alertbot.config.compile import compile_rates
from alertbot.config.integrations import is_loopback
from alertbot.config.load import Config, ConfigErrors, load
from alertbot.config.secrets import plain, secrets_of
from alertbot.domain.deploys import Suspect
from alertbot.domain.enrichment import Enrichment, Past
from alertbot.domain.events import Parsed, RawEvent
from alertbot.domain.levels import PAGING
from alertbot.domain.matchers import Matcher
from alertbot.domain.model import SEVERITY_LABEL, Alert, Incident, IncidentStatus
from alertbot.domain.policy import Policy, Severity
from alertbot.engine import Engine
from alertbot.enrich.deploys import suspects_of
from alertbot.enrich.enricher import Asker, Enricher, Parts
from alertbot.enrich.graph import Graphs
from alertbot.enrich.history import Histories
from alertbot.enrich.prometheus import Prometheus
from alertbot.enrich.runbooks import Runbook, Runbooks, runbooks_of
from alertbot.enrich.slo import Budgets
from alertbot.life import Life
from alertbot.limiter import StoredLimiter, WhileOurs
from alertbot.notifiers import Shared, build
from alertbot.notifiers.base import Links, Notifier
from alertbot.notifiers.pagerduty_rest import PagerDutyRest, RestError
from alertbot.notifiers.slack_api import SlackApi
from alertbot.outbox import Address, Outbox
from alertbot.reconcile import Reconciler, is_theirs
from alertbot.reconcile import Settings as LookSettings
from alertbot.redis_url import SCHEMES, RedisUrl
from alertbot.release import Release
from alertbot.remote_keys import RemoteKeys
from alertbot.sources import SOURCES
from alertbot.store import open_store
from alertbot.store.base import Store, StoreError, StoreUnavailable
from alertbot.storms import Storms
from alertbot.telemetry import Metrics, RedactionFilter
from alertbot.web.app import make_runner
from alertbot.web.deploys import SENDERS
from alertbot.web.ports import BrokenDestination, DryDestination, ReloadRefused, RemoteUnknown, View

log = logging.getLogger("alertbot")

#: How often what is older than `retention` is forgotten, in seconds.
TRIM_EVERY: Final = 3600.0
#: How often a store that did not take a webhook is looked at, in seconds; and what is written there then.
LOOK_EVERY: Final = 1.0
LOOKED_META: Final = "looked"
#: Where the store remembers the policy that open alerts were last looked at by.
POLICY_META: Final = "policy"


class Refused(Exception):
    """It cannot serve as it is told to; the message says what to change. The operator's to mend."""


class App:
    """One bot. `start`, then `serve_until_stopped` or `stop`; it is also what the web asks (`alertbot.web.ports.Bot`).

    `environ` is where `${NAME}` in the config comes from, again at each reload.
    """

    def __init__(
        self,
        config_file: Path,
        environ: Mapping[str, str],
        *,
        clock: Clock | None = None,
        insecure: bool = False,
        redaction: RedactionFilter | None = None,
    ) -> None:
        self.config_file = config_file
        self.environ = environ
        self.config: Config = load(config_file, environ)
        self.time = clock or SystemClock()
        self.metrics = Metrics(alertbot.__version__)
        self.redaction = redaction
        self.port = 0
        self._insecure = insecure
        self._check_exposure(self.config)
        settings = self.config.settings.store
        self.store: Store = open_store(
            settings.url,
            allow_eviction=settings.allow_eviction,
            wait_replicas=settings.wait_replicas,
            wait_disk=settings.wait_disk,
        )
        self.limiter = StoredLimiter(self.store, self.time)
        self.storms = Storms(self.store, self.config.policy, self.limiter)
        self.outbox = Outbox(
            self.store, self.config.policy, {}, self.time, self._links, self._kept_failing, self.metrics, self.storms
        )
        self.enricher = self.outbox.enricher = Enricher(Parts(), self.time, self.outbox.found)
        self.engine = Engine(
            self.store,
            self.config.policy,
            self.time,
            SOURCES,
            counts=self.metrics,
            on_wants=self.outbox.wake,
        )
        self.remote_keys = RemoteKeys(self.store)
        self.life = Life(self.ailing)
        self.alertmanager: Alertmanager | None = None
        """The one in the config, once started; None where there is none."""
        self.reconciler = Reconciler(
            self.store, self.time, lambda: self.alertmanager, self._look_settings, self._found, self._looked
        )
        self.release = Release(
            self.store,
            self.time,
            lambda: self.alertmanager,
            lambda alert: alert.vouched or is_theirs(alert, self._look_settings()),
            self._found,
        )
        self.engine.on_asking = self.release.wake
        self._session: aiohttp.ClientSession | None = None
        self._clients, self._retired = AsyncExitStack(), AsyncExitStack()
        """What closes the notifiers and their clients: those in use, and those of the config before."""
        self._looking: set[asyncio.Task[None]] = set()
        self._stack = AsyncExitStack()
        self._stop = asyncio.Event()
        self._away = "not started yet"
        self._refusal = ""
        """Why the store did not take the last webhook; empty once it takes again."""
        self._refused = asyncio.Event()
        self.view = self._view(self.config)
        self.desk = Desk(self, self._terms(self.config, Runbooks()))
        self.socket = Socket(self.desk, self.metrics)

    # Starting and stopping.

    async def start(self) -> None:
        """Raises `StoreUnusable`, `Refused` (the port is taken), and then leaves nothing running."""
        async with AsyncExitStack() as stack:
            # The port first: who cannot have it must not have delivered anything.
            listening = self._bind()
            stack.callback(listening.close)
            await self.store.open()
            stack.push_async_callback(self.store.close)
            self._session = aiohttp.ClientSession(trust_env=False, middlewares=(self._only_what_is_ours,))
            stack.push_async_callback(self._session.close)
            self.alertmanager = self._alertmanager(self.config)
            if await self._is_news(self.config.policy):
                await self._adopt(self.config.policy)
            self.outbox.notifiers = self._notifiers(self.config)
            stack.push_async_callback(self._close_notifiers)
            self.enricher.parts = await self._enrichment(self.config)
            stack.push_async_callback(self.enricher.close)
            await self.outbox.start()
            stack.push_async_callback(self.outbox.stop)
            # Before anything is decided: what is due by now was missed by us, not by the sender.
            await self._expect_heartbeats(started=True)
            await self.engine.start()
            stack.push_async_callback(self.engine.stop)
            stack.push_async_callback(self.release.close)
            await self.reconciler.start()
            stack.push_async_callback(self.reconciler.stop)
            self.desk.session = self._session
            self.desk.take(self._terms(self.config, self.enricher.parts.runbooks))
            stack.push_async_callback(self.desk.close)
            stack.push_async_callback(self.socket.close)
            settings = self.config.settings.global_
            self.socket.use(plain(settings.slack_app_token), settings.slack_api_url)
            await self._listen(stack, listening)
            for work in (self._trim(), self._look_at_store()):
                stack.push_async_callback(_cancel, asyncio.create_task(work))
            self._tell_secrets(self.config)
            self.metrics.config_last_reload_successful.set(1)
            self.metrics.config_last_reload_success_timestamp.set(self.time.now().timestamp())
            self._away = ""
            stack.push_async_callback(self.life.close)
            await self._report_life(self.config)
            self._stack = stack.pop_all()

    async def stop(self) -> None:
        """Takes nothing more in, finishes what is at hand, lets go of the store. What is left is durable."""
        self._away = "stopping"
        await self._stack.aclose()

    async def serve_until_stopped(self) -> None:
        """Until SIGTERM or SIGINT; SIGHUP reloads."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        reloads: set[asyncio.Task[None]] = set()

        def reload() -> None:
            task = asyncio.create_task(self._reload_and_log())
            reloads.add(task)
            task.add_done_callback(reloads.discard)

        loop.add_signal_handler(signal.SIGHUP, reload)
        await self._stop.wait()
        log.info("stopping")
        await self.stop()

    def _bind(self) -> socket.socket:
        listen = self.config.settings.web.listen
        host, port = _host_port(listen)
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            listening = socket.create_server((host, port), family=family, backlog=1024)
        except OSError as e:
            raise Refused(f"cannot listen on {listen}: {os.strerror(e.errno) if e.errno else e}") from None
        self.port = listening.getsockname()[1]
        self.view = self._view(self.config)
        return listening

    async def _listen(self, stack: AsyncExitStack, listening: socket.socket) -> None:
        runner = make_runner(self)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.SockSite(runner, listening).start()

    def _check_exposure(self, config: Config) -> None:
        """Without tokens it serves on loopback only."""
        settings = config.settings.web
        host, _ = _host_port(settings.listen)
        if is_loopback(host) or self._insecure:
            return
        missing = [n for n in ("webhook_tokens", "api_tokens") if not getattr(settings, n)]
        if missing:
            raise Refused(
                f"web.listen is {settings.listen}, and there are no {' and no '.join(missing)}: "
                "set them, listen on 127.0.0.1, or start with --insecure"
            )

    def banner(self) -> list[str]:
        """What a person should know at the start, a line each."""
        settings = self.config.settings
        own = self._own_url(self.config)
        lines = [
            f"alertbot {alertbot.__version__} serves on {own}, store {_shown(settings.store.url)}",
            *([f"people reach it at {self.view.external_url}"] if settings.web.external_url else []),
        ]
        if not settings.web.webhook_tokens or not settings.web.api_tokens:
            open_ = "anybody who can reach it may use it" if self._insecure else "on loopback only"
            lines.append(f"no tokens are set: {open_}")
        lines += [
            f"runs dry (never sent): {d.integration} {d.to} of receiver {d.receiver}, for {d.missing} is not set"
            for d in self.view.dry
        ]
        lines += [f"warning: {w}" for w in self.config.warnings]
        lines += [f"not in effect yet: {p}" for p in self.config.not_in_effect]
        return lines

    # What the web asks.

    @property
    def policy(self) -> Policy:
        """What decisions are made by."""
        return self.config.policy

    @property
    def severities(self) -> Sequence[Severity]:
        """The configured levels, the most urgent first."""
        return self.config.policy.severities

    def clock(self) -> datetime:
        """Now, in UTC."""
        return self.time.now()

    def runbook(self, alerts: Sequence[Alert]) -> str | None:
        """The address of the runbook of an incident with these alerts."""
        found = self.enricher.runbook(alerts)
        return None if found is None else found.url

    def runbook_file(self, name: str) -> Runbook | None:
        """A runbook by its name in the folder."""
        return next((r for r in self.enricher.parts.runbooks.all if r.name == name), None)

    async def enrichment(self, incident: Incident, alerts: Sequence[Alert]) -> Enrichment:
        """All that is known of an incident; takes as long as the parts of a search may."""
        found = await self.enricher.found(incident, alerts)
        return replace(found, suspects=(await self.suspects([alerts]))[0])

    async def suspects(self, incidents: Sequence[Sequence[Alert]]) -> Sequence[tuple[Suspect, ...]]:
        """Of each incident's alerts the recent deploys that they may come from, the likeliest first."""
        return await suspects_of(self.store.deploys, self.config.policy.deploys, incidents)

    def broken(self) -> Sequence[BrokenDestination]:
        """The destinations that do not answer now."""
        return [
            BrokenDestination(b.integration, b.to, b.opened, b.error)
            for b in self.outbox.broken.values()
            if b.opened is not None
        ]

    async def accept(
        self,
        source: str,
        body: bytes,
        parsed: Parsed,
        trace_id: str,
        wait: bool = False,
        decided: asyncio.Future[None] | None = None,
    ) -> int:
        """See `alertbot.web.ports.Bot`."""
        raw = RawEvent(self.time.now(), source, body, trace_id)
        if source in ("silence", "unsilence"):
            decided = decided or asyncio.get_running_loop().create_future()
            decided.add_done_callback(lambda _: self.reconciler.wake())
        try:
            seq = await self.engine.accept(raw, parsed, wait=wait, decided=decided)
        except StoreUnavailable as e:
            self._refusal = str(e)
            self._refused.set()
            raise
        self._taken()
        self.metrics.events_received.labels(source).inc()
        return seq

    async def remote_key(self, remote: str, said: str) -> str:
        """See `alertbot.web.ports.Bot`."""
        try:
            # PagerDuty waits five seconds for our answer.
            async with asyncio.timeout(4):
                return await self.remote_keys.key_of(remote, said)
        except (RestError, TimeoutError) as e:
            if isinstance(e, RestError) and not e.may_pass:
                log.warning("which incident of PagerDuty's it is cannot be asked: %s", e, extra={"remote": remote})
                return ""
            raise RemoteUnknown(str(e) or "PagerDuty did not answer in time") from None

    def wake(self) -> None:
        """Something was put back into the store: a delivery that is due, or an event that is not decided."""
        self.outbox.wake()
        task = asyncio.create_task(self.engine.look_again())
        self._looking.add(task)
        task.add_done_callback(self._looking.discard)

    def ailing(self) -> str:
        """Why a dead man's switch must not hear that all is well; empty while it is.

        The store is away, nothing is decided, nothing is delivered, or nobody can be called: every destination that
        pages is broken.
        """
        ready, why = self.readiness()
        if not ready:
            return why
        if self.outbox.failing:
            return self.outbox.failing
        paging = {i.lane for key, i in self.config.integrations.items() if key[1] in PAGING and i.dry is None}
        return "no destination that pages anybody answers" if paging and paging <= self.outbox.broken.keys() else ""

    async def _report_life(self, config: Config) -> None:
        settings = config.settings.global_
        await self.life.use(plain(settings.heartbeat_url), settings.heartbeat_every, self._session)

    def readiness(self) -> tuple[bool, str]:
        """Whether requests make sense now, and why not."""
        why = self._away or self._refusal or self.engine.failing
        return not why, why

    async def reload(self) -> list[str]:
        """Takes the config as it stands now, whole or not at all. Returns what to know about it.

        Raises `ReloadRefused`, and `StoreError` where open alerts can't be looked at now; the config in use then stays.
        """
        try:
            config = load(self.config_file, self.environ)
            self._check_exposure(config)
        except (ConfigErrors, Refused) as e:
            self.metrics.config_last_reload_successful.set(0)
            problems = [str(p) for p in e.problems] if isinstance(e, ConfigErrors) else [str(e)]
            raise ReloadRefused(problems) from None
        notes = [str(w) for w in (*config.warnings, *config.not_in_effect)]
        old, new = self.config.settings, config.settings
        notes += [
            f"{what} takes effect at the next start"
            for what, changed in (
                ("store.url", old.store.url != new.store.url),
                ("web.listen", old.web.listen != new.web.listen),
            )
            if changed
        ]
        enrichment = await self._enrichment(config)
        news = await self._is_news(config.policy)
        self._tell_secrets(config)
        self.config = config
        self.view = self._view(config)
        self.alertmanager = self._alertmanager(config)
        self.enricher.parts = enrichment
        retired = self._clients
        self.storms.policy = self.outbox.policy = config.policy
        self.outbox.notifiers = self._notifiers(config)
        self.desk.take(self._terms(config, enrichment.runbooks))
        self.socket.use(plain(new.global_.slack_app_token), new.global_.slack_api_url)
        # Those of the reload before last: an attempt is long over by then.
        await self._retired.aclose()
        self._retired = retired
        if news:
            await self._adopt(config.policy)
        await self._expect_heartbeats()
        await self._report_life(config)
        self.outbox.wake()
        self.reconciler.wake()
        self.metrics.config_last_reload_successful.set(1)
        self.metrics.config_last_reload_success_timestamp.set(self.time.now().timestamp())
        log.info("the config was reloaded", extra={"notes": notes})
        return notes

    async def _reload_and_log(self) -> None:
        try:
            await self.reload()
        except ReloadRefused as e:
            log.error("the config is wrong, and the one in use stays", extra={"problems": e.problems})
        except StoreError as e:
            self.metrics.config_last_reload_successful.set(0)
            log.error("the config was not reloaded, for the store is away: reload again", extra={"error": str(e)})

    async def _is_news(self, policy: Policy) -> bool:
        """Whether open alerts were last looked at by another policy, here or, of replicas, anywhere."""
        return {_digest(policy)} != {await self.store.get_meta(POLICY_META), _digest(self.engine.policy)}

    async def _adopt(self, policy: Policy) -> None:
        await self.engine.adopt(policy)
        await self.store.set_meta(POLICY_META, _digest(policy))

    # Parts.

    def _view(self, config: Config) -> View:
        settings = config.settings.web
        return View(
            external_url=settings.external_url or self._own_url(config),
            webhook_tokens=tuple(t.get_secret_value() for t in settings.webhook_tokens),
            api_tokens=tuple(t.get_secret_value() for t in settings.api_tokens),
            webhook_secrets={
                sender: secret.get_secret_value()
                for sender in SENDERS
                if (secret := getattr(settings, f"{sender}_webhook_secret")) is not None
            },
            max_body=settings.max_body,
            slack_signing_secret=plain(config.settings.global_.slack_signing_secret),
            pagerduty_webhook_secret=plain(config.settings.global_.pagerduty_webhook_secret),
            receivers=tuple(config.policy.receivers),
            dry=tuple(
                DryDestination(receiver, kind, to, i.dry)
                for (receiver, kind, to), i in config.integrations.items()
                if i.dry is not None
            ),
        )

    def _own_url(self, config: Config) -> str:
        host, port = _host_port(config.settings.web.listen)
        return f"http://{host if host not in ('', '0.0.0.0', '::') else 'localhost'}:{self.port or port}/"  # noqa: S104  # compared, not bound

    def _notifiers(self, config: Config) -> dict[Address, Notifier]:
        host = urlsplit(self.view.external_url).hostname or ""
        self.limiter.rates = compile_rates(config.settings.global_.limits)
        self.outbox.page = self.view.external_url
        limiter = WhileOurs(self.limiter, self.time, self.outbox.still_ours)
        token = plain(config.settings.global_.pagerduty_api_token)
        rest = PagerDutyRest(token, config.settings.global_.pagerduty_api_url) if token else None
        self.remote_keys.ask = rest.keys_of if rest is not None else None
        shared = Shared(session=self._session, host=host, limiter=limiter, buttons=offered(), rest=rest)
        made = {key: build(key[1], i, shared) for key, i in config.integrations.items()}
        self._clients = AsyncExitStack()
        if rest is not None:
            self._clients.callback(rest.close)
        for notifier in made.values():
            self._clients.push_async_callback(notifier.close)
        return made

    def _alertmanager(self, config: Config) -> Alertmanager | None:
        settings = config.settings.global_
        if self._session is None or not settings.alertmanager_url:
            return None
        headers = {}
        if settings.alertmanager_bearer_token is not None:
            headers["Authorization"] = f"Bearer {settings.alertmanager_bearer_token.get_secret_value()}"
        elif settings.alertmanager_username is not None and settings.alertmanager_password is not None:
            password = settings.alertmanager_password.get_secret_value()
            headers["Authorization"] = aiohttp.encode_basic_auth(settings.alertmanager_username, password)
        return Alertmanager(self._session, settings.alertmanager_url, self.time, headers)

    def _look_settings(self) -> LookSettings:
        settings = self.config.settings.global_
        receiver = settings.alertmanager_receiver
        return LookSettings(
            every=settings.reconcile_every,
            external_urls=frozenset((*settings.alertmanager_url, *settings.alertmanager_external_url)),
            receiver=None if receiver is None else Matcher("receiver", "=~", receiver),
            page=self.view.external_url,
        )

    async def _found(self, source: str, body: bytes) -> None:
        await self.accept(source, body, SOURCES[source](body, self.time.now()), "", wait=True)

    def _looked(self, answered: bool) -> None:
        self.metrics.alertmanager_up.set(answered)

    async def _enrichment(self, config: Config) -> Parts:
        """What is shown with an incident. The runbooks are read here, off the loop."""
        runbooks = await asyncio.to_thread(runbooks_of, config)
        for problem in runbooks.problems:
            log.warning("a runbook: %s", problem)
        askers: dict[str, Asker] = {"history": Histories(self._past)}
        url = config.settings.global_.prometheus_url
        if url is not None and self._session is not None:
            prometheus = Prometheus(url, self._session)
            askers["graph"] = Graphs(prometheus)
            if config.settings.slos:
                askers["error budget"] = Budgets(prometheus, config.settings.slos)
        return Parts(runbooks, config.settings.links, askers, self._view(config).external_url)

    async def _past(self, key: str, since: datetime) -> Past:
        try:
            return await self.store.past(key, since)
        except StoreUnavailable as e:
            log.warning("no history: the store is away", extra={"error": str(e)})
            return Past()

    def _terms(self, config: Config, runbooks: Runbooks) -> Terms:
        settings = config.settings
        token, may_act = plain(settings.global_.slack_bot_token), settings.slack.may_act
        pagerduty = plain(settings.global_.pagerduty_api_token)
        return Terms(
            external_url=self.view.external_url,
            severities=tuple(s.name for s in config.policy.severities),
            commands=commands(),
            runbooks=runbooks,
            may_act=None if may_act is None else frozenset(may_act),
            api=SlackApi(token, session=self._session, base_url=settings.global_.slack_api_url) if token else None,
            rota=PagerDutyRest(pagerduty, settings.global_.pagerduty_api_url) if pagerduty else None,
        )

    async def _close_notifiers(self) -> None:
        await self._clients.aclose()
        await self._retired.aclose()

    def _tell_secrets(self, config: Config) -> None:
        if self.redaction is not None:
            self.redaction.set_secrets([*secrets_of(config.settings), *_secrets(config.settings.store.url)])

    def _links(self, incident: Incident, alerts: Sequence[Alert]) -> Links:
        return links(self.view.external_url, incident, alerts)

    async def _only_what_is_ours(
        self, request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Each request to a provider that is made for a delivery: not once another replica has that."""
        try:
            ours = await self.outbox.still_ours()
        except StoreError as e:
            raise aiohttp.ClientConnectionError(f"not sent, for whose it is cannot be asked: {e}") from None
        if not ours:
            raise aiohttp.ClientConnectionError("not sent: another replica has taken it over")
        return await send(request)

    async def _kept_failing(self, incident: str, receiver: str) -> None:
        """The outbox gave up on a receiver for an incident: that is an event like any other."""
        found = await self.store.incident(incident)
        fallback = self.config.policy.receivers[receiver].fallback
        if found is None or fallback is None or (fallback in found.also and fallback not in found.resting):
            return
        body = json.dumps({"incident": incident, "receiver": receiver}).encode()
        await self.accept("kept_failing", body, SOURCES["kept_failing"](body, self.time.now()), "")

    async def _expect_heartbeats(self, *, started: bool = False) -> None:
        """What is to be heard of regularly is waited for, and where it is already, after a start, a whole period."""
        watches: list[str] = []
        cursor: str | None = None
        while True:
            page = await self.store.incidents(statuses=[IncidentStatus.PENDING.value], cursor=cursor, limit=500)
            watches += [incident.id for incident in page.incidents if incident.watch]
            cursor = page.next
            if cursor is None:
                break
        if watches or self.config.policy.heartbeats:
            body = json.dumps({"watches": watches, "started": started}).encode()
            await self.accept("heartbeats", body, SOURCES["heartbeats"](body, self.time.now()), "")

    def _taken(self) -> None:
        self._refusal = ""
        self._refused.clear()

    async def _look_at_store(self) -> None:
        """Finds out that a store takes again which did not: a balancer sends nothing to who is not ready."""
        while True:
            await self._refused.wait()
            await asyncio.sleep(LOOK_EVERY)
            with suppress(StoreError):
                await self.store.set_meta(LOOKED_META, self.time.now().isoformat())
                self._taken()

    async def _trim(self) -> None:
        """Every hour: forget what is older than `retention`."""
        while True:
            await asyncio.sleep(TRIM_EVERY)
            before = self.time.now() - self.config.settings.store.retention
            try:
                gone = await self.store.trim(before)
            except StoreUnavailable as e:
                log.warning("nothing could be trimmed", extra={"error": str(e)})
            else:
                log.info("trimmed", extra={"rows": gone, "before": before.isoformat()})


def links(external_url: str, incident: Incident, alerts: Sequence[Alert]) -> Links:
    """Where a person can go on from an incident. What an alert says of itself is taken from the first that says it."""

    def said(*annotations: str) -> str:
        found = (a.annotations.get(n, "") for a in alerts for n in annotations)
        return next((url for url in found if url), "")

    alertmanager = next((a.external_url for a in alerts if a.external_url), "")
    matchers = ",".join(
        f"{k}={json.dumps(v, ensure_ascii=False)}" for k, v in incident.labels.items() if k != SEVERITY_LABEL
    )
    # Alertmanager's own link for a new silence (its email template): filter={a="b",c="d"}.
    silence = f"{alertmanager.rstrip('/')}/#/silences/new?filter={quote('{' + matchers + '}', safe='')}"
    return Links(
        incident=f"{external_url}incidents/{incident.id}",
        graph=next((a.generator_url for a in alerts if a.generator_url), ""),
        dashboard=said("dashboard_url", "dashboard"),
        silence=silence if alertmanager and matchers else "",
    )


def _digest(policy: Policy) -> str:
    return hashlib.sha256(repr(policy).encode()).hexdigest()


def _host_port(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    return host.strip("[]"), int(port)


def _shown(store_url: str) -> str:
    return RedisUrl.of(store_url).shown if store_url.startswith(SCHEMES) else store_url


def _secrets(store_url: str) -> Sequence[str]:
    return RedisUrl.of(store_url).secrets if store_url.startswith(SCHEMES) else ()


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
