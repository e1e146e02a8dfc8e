"""A whole alertbot between a script of webhooks and providers on loopback, on a clock that the test moves.

The providers keep the same time as the bot. Nothing waits on the wall clock: `settle` returns when nothing is left to
do at the present time, and `advance` stops at each time at which something becomes due.
"""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
from yarl import URL

from alertbot.app import App
from alertbot.clock import MovableClock
from alertbot.domain.durations import parse_duration
from alertbot.domain.fingerprint import fingerprint
from alertbot.telemetry import JsonFormatter, RedactionFilter
from tests.acceptance.timing import advance, settle
from tests.config.contract import CONTRACT
from tests.standins.faults import FlakyProxy
from tests.standins.pagerduty import ROUTING_KEY, PagerDutyStandin
from tests.standins.prometheus import PrometheusStandin
from tests.standins.server import Call, HttpStandin
from tests.standins.slack import SlackStandin
from tests.standins.slack_socket import SocketUser
from tests.standins.slack_user import SlackUser
from tests.standins.smtp import SmtpStandin
from tests.standins.twilio import ACCOUNT_SID, TwilioStandin
from tests.standins.webhook import WebhookStandin

START: Final = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
EXTERNAL_URL: Final = "https://alertbot.example.org/"

#: What stands in the environment. All of it but the first is secret.
ENVIRON: Final[Mapping[str, str]] = {
    "TWILIO_SID": ACCOUNT_SID,
    "SLACK_BOT_TOKEN": "xoxb-of-the-acceptance-tests",
    "SLACK_SIGNING_SECRET": "slack-signing-secret-of-the-tests",
    "SLACK_APP_TOKEN": "xapp-of-the-acceptance-tests",
    "PAGERDUTY_KEY": ROUTING_KEY,
    "TWILIO_AUTH_TOKEN": "twilio-auth-token-of-the-tests",
    "SMTP_PASSWORD": "smtp-password-of-the-tests",
    "ALERTBOT_WEBHOOK_TOKEN": "webhook-token-of-the-tests",
    "ALERTBOT_API_TOKEN": "api-token-of-the-tests",
    "HOOK_TOKEN": "hook-token-of-the-tests",
}
SECRETS: Final = tuple(value for name, value in ENVIRON.items() if name != "TWILIO_SID")

#: The contract's example, from `severities` on: routes, receivers, rules.
WHOLE_EXAMPLE: Final = CONTRACT[CONTRACT.index("severities:") :]
#: The same where nobody is escalated to and no heartbeat is waited for: most tests let hours pass over one alert.
EXAMPLE: Final = re.sub(r"(?m)^heartbeats:\n(?:  .*\n)*|, escalation: page-the-lead", "", WHOLE_EXAMPLE)

Json = dict[str, Any]


def alert(name: str, severity: str, started: datetime, **labels: str) -> Json:
    """A firing alert as Alertmanager sends it, in production unless told otherwise."""
    whole = {"alertname": name, "severity": severity, "environment": "prod", **labels}
    return {
        "status": "firing",
        "labels": whole,
        "annotations": {"summary": f"{name} is bad", "runbook_url": f"https://runbooks.example.org/{name}"},
        "startsAt": started.isoformat(),
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus.example.org/graph",
        "fingerprint": fingerprint(whole),
    }


def ended(fired: Json, at: datetime) -> Json:
    """The same alert, resolved."""
    return {**fired, "status": "resolved", "endsAt": at.isoformat()}


def body(alerts: Iterable[Any], **fields: Any) -> Json:
    """A webhook's body, as Alertmanager 0.25 sends it."""
    every = list(alerts)
    fires = any(isinstance(a, dict) and a.get("status") == "firing" for a in every)
    status = "firing" if fires else "resolved"
    return {
        "receiver": "alertbot", "status": status, "alerts": every, "groupLabels": {}, "commonLabels": {},
        "commonAnnotations": {}, "externalURL": "http://alertmanager-0.example.org", "version": "4",
        "groupKey": "{}:{}", "truncatedAlerts": 0, **fields,
    }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Answer:
    """What the bot answered: `body` is the JSON, or the text where it is none."""

    status: int
    body: Any
    text: str


class Bot:
    """The bot in `folder`, with Slack, PagerDuty (behind `wire`, which can be cut), Twilio, SMTP and a webhook.

    `config` is what the file says from `severities` on; `{hook}` in it is the webhook stand-in's base URL. `environ`
    are the variables it is started with. Without `store_url` it has a file. `log` is all that it logged, `seen` all
    that it answered to the test.
    """

    def __init__(
        self, folder: Path, config: str = EXAMPLE, environ: Mapping[str, str] = ENVIRON, store_url: str = ""
    ) -> None:
        self.config_file = folder / "alertbot.yml"
        self.store_file = folder / "alertbot.db"
        self.store_url = store_url or f"sqlite:///{self.store_file}"
        self.config = config
        self.environ = dict(environ)
        self.clock = MovableClock(START)
        self.slack = SlackStandin(
            clock=self._time, token=ENVIRON["SLACK_BOT_TOKEN"], app_token=ENVIRON["SLACK_APP_TOKEN"]
        )
        self.pagerduty = PagerDutyStandin(clock=self._time)
        self.twilio = TwilioStandin(clock=self._time, auth_token=ENVIRON["TWILIO_AUTH_TOKEN"])
        self.smtp = SmtpStandin(clock=self._time, login=("alertbot", ENVIRON["SMTP_PASSWORD"]))
        self.hook = WebhookStandin(clock=self._time)
        self.prometheus = PrometheusStandin(clock=self._time)
        self.wire = FlakyProxy(0)
        self.log = io.StringIO()
        self.seen: list[str] = []
        self._heard: dict[str, int] = {}
        self._redaction = RedactionFilter()
        self._handler = logging.StreamHandler(self.log)
        self._handler.setFormatter(JsonFormatter())
        self._handler.addFilter(self._redaction)
        self._app: App | None = None
        self._names: dict[str, str] = {}
        self._root_level = logging.getLogger().level

    def _time(self) -> float:
        return self.clock.now().timestamp()

    @property
    def app(self) -> App:
        """The bot that runs."""
        assert self._app is not None, "the bot is not running"
        return self._app

    @property
    def url(self) -> str:
        """Its base URL, without a slash at its end."""
        return f"http://127.0.0.1:{self.app.port}"

    @property
    def now(self) -> datetime:
        """The time that the bot and the providers have."""
        return self.clock.now()

    # Starting and stopping.

    async def __aenter__(self) -> Self:
        root = logging.getLogger()
        root.addHandler(self._handler)
        root.setLevel(logging.DEBUG)
        for standin in self._standins():
            await standin.start()
        self.wire.upstream_port = self.pagerduty.port
        await self.wire.start()
        self.write_config(self.config)
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for standin in self._standins():
            standin.faults.clear()
        if self._app is not None:
            await self.stop()
        await self.wire.stop()
        for standin in self._standins():
            await standin.stop()
        root = logging.getLogger()
        root.removeHandler(self._handler)
        root.setLevel(self._root_level)
        if error is None:
            self.check_log()

    def _standins(self) -> tuple[HttpStandin | SmtpStandin, ...]:
        return (self.slack, self.pagerduty, self.twilio, self.smtp, self.hook, self.prometheus)

    async def start(self) -> None:
        """Starts the bot from its file. Raises what `App.start` raises."""
        app = App(self.config_file, self.environ, clock=self.clock, redaction=self._redaction)
        await app.start()
        self._app = app

    async def stop(self) -> None:
        """Stops it in good order."""
        app, self._app = self.app, None
        await app.stop()

    async def restart(self) -> None:
        """Stops it and starts another on the same file."""
        await self.stop()
        await self.start()

    def write_config(self, config: str, *, head: Mapping[str, str] | None = None) -> None:
        """Writes the whole file: the addresses of the providers, and `config`. `head` replaces words of the former."""
        text = (
            "global:\n"
            "  slack_bot_token: ${SLACK_BOT_TOKEN}\n"
            "  slack_signing_secret: ${SLACK_SIGNING_SECRET}\n"
            f"  slack_api_url: {self.slack.api_url}\n"
            f"  pagerduty_url: {self.wire.url}\n"
            f"  smtp_smarthost: {self.smtp.smarthost}\n"
            "  smtp_from: alertbot@example.org\n"
            "  smtp_auth_username: alertbot\n"
            "  smtp_auth_password: ${SMTP_PASSWORD}\n"
            f"  twilio_url: {self.twilio.url}\n"
            "  twilio_account_sid: ${TWILIO_SID}\n"
            "  twilio_auth_token: ${TWILIO_AUTH_TOKEN}\n"
            "  twilio_from: '+15550199'\n"
            "web:\n"
            "  listen: 127.0.0.1:0\n"
            f"  external_url: {EXTERNAL_URL}\n"
            "  webhook_tokens: [${ALERTBOT_WEBHOOK_TOKEN}]\n"
            "  api_tokens: [${ALERTBOT_API_TOKEN}]\n"
            f"store: {{url: '{self.store_url}'}}\n"
        )
        for old, new in (head or {}).items():
            assert old in text
            text = text.replace(old, new)
        self.config_file.write_text(text + config.replace("{hook}", self.hook.url))

    # Speaking to it.

    def alert(self, name: str, severity: str = "critical", **labels: str) -> Json:
        """An alert that fires since now."""
        return alert(name, severity, self.now, **labels)

    async def post(self, *alerts: Any, **fields: Any) -> Answer:
        """Alertmanager's webhook with these alerts."""
        return await self.ask("POST", "/webhooks/alertmanager", body(alerts, **fields), token="ALERTBOT_WEBHOOK_TOKEN")

    async def fire(self, *alerts: Json, **fields: Any) -> None:
        """The same; it must be accepted whole, and is then settled."""
        answer = await self.post(*alerts, **fields)
        assert (answer.status, answer.body) == (200, {"accepted": len(alerts), "set_aside": 0})
        await self.settle()

    async def end(self, *alerts: Json, **fields: Any) -> None:
        """They resolve now."""
        await self.fire(*(ended(a, self.now) for a in alerts), **fields)

    async def ask(
        self, method: str, path: str, json_body: Any = None, *, token: str | None = "ALERTBOT_API_TOKEN"
    ) -> Answer:
        """One request, with the token of that name."""
        headers = {"Authorization": f"Bearer {ENVIRON[token]}"} if token else {}
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, URL(self.url + path, encoded=True), json=json_body, headers=headers) as response,
        ):
            text = await response.text()
            self.seen.append(f"{response.headers}\n{text}")
            found = json.loads(text) if response.content_type == "application/json" else text
            return Answer(response.status, found, text)

    async def get(self, path: str) -> Any:
        """What the API answers with 200."""
        answer = await self.ask("GET", path)
        assert answer.status == 200, answer
        return answer.body

    async def act(self, path: str, **fields: Any) -> Any:
        """POSTs to the API and settles; it must answer 200."""
        answer = await self.ask("POST", path, fields)
        assert answer.status == 200, answer
        await self.settle()
        return answer.body

    def user(self, name: str = "alice") -> SlackUser:
        """Somebody in Slack, whose commands and presses go to this bot."""
        return SlackUser(self.url, self.slack.url, ENVIRON["SLACK_SIGNING_SECRET"], name=name, clock=self._time)

    def socket_user(self, name: str = "alice") -> SocketUser:
        """Somebody in Slack, whose commands and presses come over Socket Mode."""
        return SocketUser(self.slack.sockets, self.slack.url, name=name, clock=self._time)

    async def incidents(self) -> list[Json]:
        """All incidents as the API shows them, the oldest first."""
        found: list[Json] = (await self.get("/api/v1/incidents?limit=500"))["incidents"]
        return found[::-1]

    async def incident(self, name: str) -> Json:
        """The newest incident of an alertname."""
        found = [i for i in await self.incidents() if i["labels"].get("alertname") == name]
        return found[-1]

    async def delivery(self, name: str, integration: str, receiver: str | None = None) -> Json:
        """The delivery of an incident to an integration."""
        deliveries = (await self.incident(name))["deliveries"]
        (found,) = (
            d for d in deliveries if d["integration"] == integration and receiver in (None, d["receiver"])
        )  # fmt: skip
        return dict(found)

    async def reasons(self, name: str, *kinds: str) -> list[str]:
        """The reasons of an incident's timeline, of these kinds of entry."""
        incident = await self.incident(name)
        entries = (await self.get(f"/api/v1/incidents/{incident['id']}/timeline?limit=500"))["entries"]
        return [e["reason"] for e in entries if not kinds or e["kind"] in kinds]

    async def metric(self, name: str, **labels: str) -> float:
        """A sample of /metrics; 0 where there is none."""
        text = (await self.ask("GET", "/metrics", token=None)).text
        shown = ",".join(f'{k}="{v}"' for k, v in sorted(labels.items()))
        wanted = f"{name}{{{shown}}}" if shown else name
        found = re.search(rf"^{re.escape(wanted)} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    # Time.

    async def settle(self) -> None:
        """Returns when all is decided and delivered that can be at this time. What a stand-in holds back is left."""
        await self.app.desk.idle()

        def held() -> int:
            """Attempts that a destination holds; and one search, however many of its questions Prometheus holds."""
            searches = self.app.enricher.under_way if self.prometheus.faults.held else 0
            return searches + sum(s.faults.held for s in self._standins() if s is not self.prometheus)

        await settle(self.app.store, self.clock, self.app.outbox, held)

    async def advance(self, span: str) -> None:
        """Moves the clock on, and stops at each time at which something becomes due."""
        await advance(self.app.store, self.clock, self.app.outbox, parse_duration(span), self.settle)

    # What the providers saw.

    async def heard(self) -> list[str]:
        """All that was sent since the last look, provider by provider, as `provider what of-which-incident`.

        What was refused or spoiled says so at its end. What only looked (Slack's history) is left out.
        """
        for incident in (await self.app.store.incidents(limit=500)).incidents:
            self._names[incident.id] = incident.labels.get("alertname", incident.title)
        lines = [_with(self._pagerduty(c), c) for c in self._new("pagerduty", self.pagerduty.requests)]
        slack = [
            c for c in self._new("slack", self.slack.requests) if c.endpoint in ("chat.postMessage", "chat.update")
        ]
        lines += [_with(self._slack(c), c) for c in slack]
        sms = self._new("sms", self.twilio.requests)
        lines += [_with(f"sms {c.params['To']} {c.params['Body'].splitlines()[0]}", c) for c in sms]
        lines += [f"mail {','.join(m.recipients)} {m.message['Subject']}" for m in self._new("mail", self.smtp.mails)]
        hooks = self._new("webhook", self.hook.requests)
        lines += [_with(f"webhook {c.endpoint} {c.params['action']} {self._named(c.params['id'])}", c) for c in hooks]
        for line in self._new("log", [json.loads(text) for text in self.log.getvalue().splitlines()]):
            if line["logger"] == "alertbot.notify":
                lines.append(f"log {line['action']} {self._named(line['incident'])}")
        return lines

    def _new(self, provider: str, calls: list[Any]) -> list[Any]:
        seen, self._heard[provider] = self._heard.get(provider, 0), len(calls)
        return calls[seen:]

    def _pagerduty(self, call: Call) -> str:
        return f"pagerduty {call.params.get('event_action')} {self._named(str(call.params.get('dedup_key')))}"

    def _slack(self, call: Call) -> str:
        payload = call.params["metadata"]["event_payload"]
        wanted = call.params["channel"]
        channel = self.slack.workspace.find(wanted)
        kind = "edit" if call.endpoint == "chat.update" else payload["kind"]
        name = channel.name if channel else wanted.removeprefix("#")
        return f"slack #{name} {kind} {self._named(payload['incident'])}"

    def _named(self, key: str) -> str:
        """An incident's id, or PagerDuty's key, with the alertname in the place of the id."""
        incident, dot, opening = key.partition(".")
        return self._names.get(incident, incident) + dot + opening

    def told(self) -> list[str]:
        """What was shown to somebody alone in answer to a press, since the last look: all text of each message."""
        return [_text_of(m) for m in self._new("ephemeral", self.slack.workspace.ephemeral)]

    def cards(self, channel: str) -> list[Json]:
        """The cards in a channel, without what stands in their threads."""
        return [m for m in self.slack.messages(channel) if "thread_ts" not in m]

    # Always.

    def log_lines(self, logger: str = "alertbot") -> list[Json]:
        """What was logged by this logger and those below it."""
        lines = [json.loads(line) for line in self.log.getvalue().splitlines()]
        return [line for line in lines if line["logger"] == logger or line["logger"].startswith(logger + ".")]

    def check_log(self) -> None:
        """No secret stands in the log, and no traceback: an acceptance test meets no defect."""
        text = self.log.getvalue()
        assert [s for s in SECRETS if s in text] == []
        assert [line for line in self.log_lines() if "Traceback" in line.get("error", "")] == []


def _text_of(message: Json) -> str:
    """The texts of a message's blocks, a line each."""
    texts = []
    for block in message.get("blocks", []):
        for part in (block.get("text"), *block.get("elements", [])):
            if isinstance(part, dict):
                text = part.get("text", "")
                texts.append(text["text"] if isinstance(text, dict) else text)
    return "\n".join(filter(None, texts))


def _with(what: str, call: Call) -> str:
    """What became of a call, where it was not taken."""
    if call.outcome != "answered":
        return f"{what} !{call.outcome}" + (f" {call.status}" if call.outcome == "answer" else "")
    if call.status is not None and call.status >= 300:
        return f"{what} !{call.status}"
    if isinstance(call.reply, dict) and call.reply.get("ok") is False:
        return f"{what} !{call.reply['error']}"
    return what
