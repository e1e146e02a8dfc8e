"""A whole evening through the real door: people answer from Slack and from PagerDuty, Alertmanager keeps silences, and
in the end all sides say the same; also where what they say comes late, twice and in another order.

PagerDuty tells of every change, our own too, and whoever tests carries it. What is open there is counted after every
step: it is never two of one incident.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.acceptance.bot import ENVIRON, Json, ended
from tests.alertmanager.test_reconcile import Pair, webhook
from tests.standins.pagerduty import signed
from tests.standins.slack_user import Answer, SlackUser

SECRET = "whsec-pagerduty-1"
CONFIG = """
severities:
  - {name: critical, ack_within: 5m}
  - {name: high}
route:
  receiver: ops
  group_by: [alertname]
  group_wait: 0s
  group_interval: 1s
  repeat_interval: 20m
  escalation: page-the-lead
receivers:
  - name: ops
    pagerduty_configs: [{routing_key: '${PAGERDUTY_KEY}'}]
    slack_configs: [{channel: '#ops-alerts'}]
  - name: lead
    slack_configs: [{channel: '#critical-alerts'}]
escalation_policies:
  - {name: page-the-lead, steps: [{after: 5m, receiver: lead}]}
inhibit_rules:
  - {name: maintenance, source_matchers: [alertname="Maintenance"], target_matchers: [alertname="Down"], duration: 2h}
"""
OPS = "#ops-alerts"
LEAD = "#critical-alerts"


class Evening(Pair):
    """A bot with two Alertmanagers, to whom PagerDuty's webhooks are carried. `over`: how Slack reaches it."""

    def __init__(self, folder: Path, over: str = "http", store_url: str = "") -> None:
        super().__init__(folder, store_url)
        self.config = CONFIG
        self.environ = {**ENVIRON, "PAGERDUTY_WEBHOOK_SECRET": SECRET}
        self.more = "  pagerduty_webhook_secret: ${PAGERDUTY_WEBHOOK_SECRET}\n"
        self.over = over
        self.fired: dict[str, Json] = {}

    def write_config(self, config: str, *, head: Mapping[str, str] | None = None) -> None:
        socket = {"slack_signing_secret: ${SLACK_SIGNING_SECRET}": "slack_app_token: ${SLACK_APP_TOKEN}"}
        super().write_config(config, head={**(socket if self.over == "socket" else {}), **(head or {})})

    async def start(self) -> None:
        await super().start()
        if self.over == "socket":
            await self.slack.sockets.until(connected=1)

    def person(self, name: str = "alice") -> SlackUser:
        return self.socket_user(name) if self.over == "socket" else self.user(name)

    # What happens.

    async def goes_down(self, host: str) -> Json:
        """A host's alert fires at both members, and comes by webhook."""
        self.fired[host] = await self.both(host=host)
        return self.fired[host]

    async def comes_back(self, *hosts: str) -> None:
        """It is over there; what is silenced there sends no webhook."""
        silenced = bool(self.a.active())
        for host in hosts:
            over = self.fired.pop(host)
            self.end_there(over)
            if not silenced:
                await self.fire(ended(webhook(over), self.now))

    async def press(self, action: str, name: str = "alice") -> None:
        """A button of the card as it stands now."""
        assert (await self.person(name).press(OPS, self.card()["ts"], action)).status == 200
        await self.settle()

    async def silence(self, span: str, comment: str = "known") -> None:
        """By the button, and the dialog that it opens."""
        before = len(self.slack.workspace.views)
        await self.press("silence")
        await self.app.desk.idle()
        (view,) = self.slack.workspace.views[before:]
        assert (await self.person().submit(view, entered(span, comment))).status == 200
        await self.settle()
        await self.look()

    async def pagerduty_tells(self) -> None:
        """All that PagerDuty has to say, at once and in its order."""
        bodies, self.pagerduty.webhooks = self.pagerduty.webhooks, []
        for body in bodies:
            await self.hear(body)

    async def hear(self, body: bytes) -> None:
        async with aiohttp.ClientSession() as session:
            url = f"{self.url}/webhooks/pagerduty"
            async with session.post(url, data=body, headers=signed(body, SECRET)) as answer:
                assert answer.status == 200, await answer.text()
        await self.settle()

    async def pass_time(self, span: str) -> list[str]:
        """Time passes, and PagerDuty tells; what anybody heard meanwhile."""
        await self.advance(span)
        await self.pagerduty_tells()
        return await self.heard()

    # How it stands.

    def card(self, channel: str = OPS) -> Json:
        return self.cards(channel)[-1]

    def buttons(self, channel: str = OPS) -> list[str]:
        found = [b["elements"] for b in self.card(channel)["blocks"] if b["type"] == "actions"]
        return [e["text"]["text"] for elements in found for e in elements]

    def there(self) -> list[str]:
        """What is open in PagerDuty: `<opening> status`."""
        return [f"{i.dedup_key.partition('.')[2] or 1} {i.status}" for i in self.pagerduty.open()]

    async def everywhere(self) -> Json:
        """What each side says of it."""
        incident = await self.incident("Down")
        shown = str(self.card()["blocks"])
        word = next((w for w in ("Resolved", "Acknowledged by", "Silenced by") if w in shown), "Open")
        return {
            "api": incident["status"],
            "by": incident["acknowledged_by"],
            "alerts": sorted(f"{a['labels']['host']} {a['status']}" for a in incident["alerts"]),
            "card": word,
            "buttons": self.buttons(),
            "pagerduty": [status.split()[1] for status in self.there()],
            "deliveries": sorted({d["status"] for d in incident["deliveries"]} - {"folded"}),
            "silences": len(self.a.active()),
            "incidents": len(await self.incidents()),
        }


OVER: Json = {
    "api": "resolved",
    "card": "Resolved",
    "buttons": ["Why?", "Note"],
    "pagerduty": [],
    "deliveries": ["sent"],
    "silences": 0,
    "incidents": 1,
}


async def all_is_over(bot: Evening) -> None:
    """Every side says so, and nobody hears anything more."""
    await bot.pass_time("1h")  # Slack takes one post a second; that it flaps no more is told when it was quiet
    found = await bot.everywhere()
    assert {name: found[name] for name in OVER} == OVER
    assert {a.split()[1] for a in found["alerts"]} == {"resolved"}
    for channel in (OPS, LEAD):
        assert [c for c in bot.cards(channel) if "Resolved" not in str(c["blocks"])] == []
    await bot.heard()
    assert await bot.pass_time("1d") == []
    assert bot.pagerduty.webhooks == []


def entered(span: str, comment: str) -> dict[str, Any]:
    """What somebody enters in the dialog for a silence."""
    chosen = {"type": "radio_buttons", "selected_option": {"value": span}}
    return {
        "span": {"span": chosen},
        "custom": {"custom": {"type": "plain_text_input", "value": None}},
        "comment": {"comment": {"type": "plain_text_input", "value": comment}},
    }


@pytest.fixture(params=["http", "socket"])
async def bot(request: pytest.FixtureRequest, tmp_path: Path, new_store: Callable[[], str]) -> AsyncIterator[Evening]:
    async with running(tmp_path, request.param, new_store()) as evening:
        yield evening


@pytest.fixture
async def quiet(tmp_path: Path, new_store: Callable[[], str]) -> AsyncIterator[Evening]:
    """A bot that Slack reaches by HTTP."""
    async with running(tmp_path, store_url=new_store()) as evening:
        yield evening


class running:  # noqa: N801  # used as the function that it would be
    """An evening and its Alertmanagers, while it lasts."""

    def __init__(self, folder: Path, over: str = "http", store_url: str = "") -> None:
        self.evening = Evening(folder, over, store_url)

    async def __aenter__(self) -> Evening:
        await self.evening.a.start()
        await self.evening.b.start()
        return await self.evening.__aenter__()

    async def __aexit__(self, *error: Any) -> None:
        await self.evening.__aexit__(*error)
        await self.evening.b.stop()
        await self.evening.a.stop()


async def test_a_full_evening(bot: Evening) -> None:
    # It fires: one page, one card.
    await bot.goes_down("a")
    assert await bot.heard() == ["pagerduty trigger Down", "slack #ops-alerts card Down"]
    await bot.pagerduty_tells()
    await bot.look()
    # Somebody has it, by Slack: PagerDuty follows, and nothing goes round.
    await bot.press("acknowledge")
    assert bot.there() == ["1 acknowledged"]
    heard = await bot.pass_time("1h")
    assert [line for line in heard if "pagerduty" in line] == ["pagerduty acknowledge Down"]
    assert [line for line in heard if "remind" in line or LEAD in line] == []
    assert (await bot.everywhere())["card"] == "Acknowledged by"
    # Another host joins: that acknowledgement was not of it. Somebody is called, under a key of its own.
    await bot.goes_down("b")
    assert bot.there() == ["2 triggered"]
    assert len(bot.pagerduty.pages) == 2
    heard = await bot.pass_time("1m")
    assert [line for line in heard if "pagerduty" in line] == ["pagerduty resolve Down", "pagerduty trigger Down.2"]
    assert "Acknowledge" in bot.buttons()
    assert "new_alert" in await bot.reasons("Down", "notification")
    # Nobody takes it: the escalation began anew.
    assert "slack #critical-alerts card Down" in await bot.pass_time("5m")
    # Silenced: all three sides, and Alertmanager has one for each alert.
    await bot.silence("1h")
    assert bot.there() == ["2 acknowledged"]
    assert [s["createdBy"] for s in bot.a.active()] == ["alice@example.org"] * 2
    # Silenced is not taken: the card and the commands say so.
    assert "silenced: Down" in str(bot.card()["blocks"])
    assert "Nobody has it" in str(bot.card()["blocks"])
    listed = await bot.person().slash("/incident", "list", channel=OPS)
    assert "you silenced it just now, and nobody has it" in str(listed.body)
    assert "You have no incident" in str((await bot.person().slash("/incident", "mine")).body)
    heard = await bot.pass_time("49m")
    assert [line for line in heard if "remind" in line or "trigger" in line] == []
    # Whoever silenced it is asked before it ends; it ends, and it still fires.
    asked = await bot.pass_time("2m")
    assert [line for line in asked if "news" in line] != []
    await bot.look("10m")
    assert bot.there() == ["3 triggered"]
    assert bot.a.active() == []
    assert len(bot.pagerduty.pages) == 3
    await bot.pagerduty_tells()
    # Silenced until it is over; the looks at Alertmanager find that it is.
    await bot.silence("until resolved")
    await bot.pass_time("3h")
    await bot.look()
    await bot.comes_back("a", "b")
    for _ in range(3):
        await bot.look("1m")
    await bot.pagerduty_tells()
    assert len(bot.pagerduty.pages) == 3
    await all_is_over(bot)


class Post:
    """What is on its way to the bot: each arrives late, maybe twice, and in any order."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.letters: list[Callable[[], Awaitable[Any]]] = []

    def send(self, letter: Callable[[], Awaitable[Any]]) -> None:
        self.letters += [letter] * self.random.choice([1, 2])

    async def arrive(self, most: int | None = None) -> None:
        """Some of it, or all there is."""
        self.random.shuffle(self.letters)
        for _ in range(len(self.letters) if most is None else min(most, len(self.letters))):
            await self.letters.pop()()


class Disordered(Evening):
    """The same, where what Slack and PagerDuty send comes late, twice and in any order, as do Alertmanager's bodies."""

    def __init__(self, folder: Path, seed: int, store_url: str) -> None:
        super().__init__(folder, ["http", "socket"][seed % 2], store_url)
        self.post_ = Post(seed)

    async def press(self, action: str, name: str = "alice") -> None:
        """A press of the card as it stands now. It comes within two minutes, when the card may say something else."""
        person, ts = self.person(name), self.card()["ts"]
        given = await person.interaction(OPS, ts)
        blocks = given["message"]["blocks"]
        found = [{**e, "block_id": b["block_id"]} for b in blocks if b["type"] == "actions" for e in b["elements"]]
        for button in found:
            if button["action_id"] == action:
                self.post_.send(partial(self._pressed, person, given, button, ts))

    async def _pressed(self, person: SlackUser, given: Any, button: Any, ts: str) -> None:
        answer: Answer = await person.send_press(given, button, ts)
        assert answer.status in (200, 401)  # 401: sent again to the letter
        await self.settle()

    async def drift(self, most: int | None = None) -> None:
        """Half a minute passes, and some of what is on its way arrives."""
        await self.advance("30s")
        bodies, self.pagerduty.webhooks = self.pagerduty.webhooks, []
        for body in bodies:
            self.post_.send(partial(self.hear, body))
        await self.post_.arrive(most)
        await self.settle()
        assert len(self.pagerduty.open()) <= 1, self.there()

    async def all_arrives(self) -> None:
        while self.post_.letters or self.pagerduty.webhooks:
            await self.drift()

    async def reports(self, *alerts: Json) -> None:
        """By both members, one of them late."""
        for n in range(2):
            self.post_.send(partial(self._fired, alerts, f"http://alertmanager-{n}"))

    async def _fired(self, alerts: tuple[Json, ...], url: str) -> None:
        await self.fire(*alerts, groupKey="{}:{}", externalURL=url)


@pytest.mark.parametrize("seed", range(3))
async def test_the_same_with_every_message_late_doubled_and_reordered(
    tmp_path: Path, new_store: Callable[[], str], seed: int
) -> None:
    store_url = new_store()
    bot = Disordered(tmp_path, 2 * seed + store_url.startswith("redis"), store_url)
    async with bot.a, bot.b, bot:
        first = bot.alert("Down", host="a")
        await bot.fire(first)
        page = bot.pagerduty.open()[0]
        await bot.press("acknowledge")
        await bot.press("note", "bob")
        bot.pagerduty.do(page, "acknowledged")
        await bot.drift(2)
        second = bot.alert("Down", host="b")
        await bot.reports(first, second)
        if page.status == "acknowledged":
            bot.pagerduty.do(page, "unacknowledged")
        await bot.drift(3)
        await bot.press("acknowledge", "bob")
        await bot.drift(2)
        await bot.reports(ended(first, bot.now))
        await bot.press("escalate")
        await bot.drift(3)
        bot.pagerduty.note(page, "looking at it")
        await bot.all_arrives()
        # Whatever came first: what fires fires, and every side says the same of who has it.
        found = await bot.everywhere()
        assert found["alerts"] == ["a resolved", "b firing"]
        assert found["pagerduty"] == [{"open": "triggered", "acknowledged": "acknowledged"}[found["api"]]]
        assert found["card"] == {"open": "Open", "acknowledged": "Acknowledged by"}[found["api"]]
        await bot.reports(ended(first, bot.now), ended(second, bot.now))
        await bot.drift(2)
        await bot.press("resolve", "bob")
        await bot.all_arrives()
        await bot.advance("10s")
        await bot.all_arrives()
        await all_is_over(bot)


@pytest.mark.parametrize("side", ["slack", "pagerduty", "api", "assigned"])
async def test_an_acknowledgement_from_any_side_stops_the_escalation_and_a_new_host_starts_it_again(
    quiet: Evening, side: str
) -> None:
    bot = quiet
    await bot.goes_down("a")
    await bot.advance("4m")
    page, incident = bot.pagerduty.open()[0], await bot.incident("Down")
    await bot.heard()
    match side:
        case "slack":
            await bot.press("acknowledge")
        case "pagerduty":
            bot.pagerduty.do(page, "acknowledged")
        case "api":
            await bot.act(f"/api/v1/incidents/{incident['id']}/acknowledge", by="ana")
        case "assigned":
            bob = f"<@{bot.slack.workspace.user('bob')}|bob>"
            await bot.person().slash("/incident", f"assign {incident['id']} {bob}")
    heard = await bot.pass_time("1s")
    heard += await bot.pass_time("2h")
    calls = [line for line in heard if line.startswith("pagerduty")]
    assert calls == ([] if side == "pagerduty" else ["pagerduty acknowledge Down"]), "what it said is not said to it"
    assert [line for line in heard if LEAD in line or "remind" in line] == []
    who = {"slack": "alice@example.org", "pagerduty": "Bo Yu", "api": "ana", "assigned": "bob@example.org"}[side]
    found = await bot.everywhere()
    assert (found["by"], found["card"]) == (who, "Acknowledged by")
    assert f"Acknowledged by {who}" in str(bot.card()["blocks"])
    await bot.goes_down("b")
    assert len(bot.pagerduty.pages) == 2
    assert [line for line in await bot.pass_time("299s") if LEAD in line] == []
    assert "slack #critical-alerts card Down" in await bot.pass_time("1s")


async def test_a_maintenance_window_holds_reminders_and_escalation_and_then_they_go_on(quiet: Evening) -> None:
    bot = quiet
    await bot.goes_down("a")
    await bot.pass_time("1m")
    answer = await bot.ask("POST", "/api/v1/maintenance", {"alertname": "Maintenance", "duration": "1h", "by": "ana"})
    assert answer.status in (200, 201), answer
    heard = await bot.pass_time("59m")
    assert [line for line in heard if LEAD in line or "remind" in line] == []
    heard = await bot.pass_time("25m")
    assert "slack #critical-alerts card Down" in heard
    assert [line for line in heard if "remind" in line] != []
    assert bot.there() == ["1 triggered"]


async def test_a_silence_stops_both_and_its_end_by_hand_is_heard_at_once(quiet: Evening) -> None:
    bot = quiet
    await bot.goes_down("a")
    await bot.pass_time("1m")
    await bot.silence("4h")
    heard = await bot.pass_time("3h")
    assert [line for line in heard if LEAD in line or "remind" in line] == []
    # PagerDuty's own limit ends the acknowledgement there; it is silenced, so nobody is to be called.
    bot.pagerduty.do(bot.pagerduty.open()[0], "unacknowledged", agent="service_reference")
    await bot.pass_time("1s")
    assert bot.there() == ["1 acknowledged"]
    await bot.person().slash("/silence", "end", channel=OPS)
    await bot.settle()
    await bot.look()
    assert (bot.there(), bot.a.active()) == (["2 triggered"], [])
    assert "slack #critical-alerts card Down" in await bot.pass_time("5m")
