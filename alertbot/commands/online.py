"""`alertbot check --online`: asks Slack, PagerDuty and Redis whether they would take what the config makes of them.

Nothing is posted, and no event is raised: so a routing key is not asked about.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from alertbot.commands.manifest import APP_SCOPE, scopes
from alertbot.config.integrations import PagerDuty, Slack, entries
from alertbot.config.load import Config
from alertbot.config.problems import Path, Problem
from alertbot.config.secrets import plain
from alertbot.notifiers.pagerduty_rest import PagerDutyRest, RestError
from alertbot.notifiers.slack_api import LostError, RefusedError, SlackApi
from alertbot.redis_url import SCHEMES
from alertbot.store.base import StoreError
from alertbot.store.redis import RedisStore

#: Seconds for one question.
SECONDS: Final = 10.0
PAGES: Final = 50


@dataclass(slots=True)
class Found:
    """What is wrong; and what could not be asked, or is as it should be."""

    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


async def check_online(config: Config) -> Found:
    """Asks every provider that the config has credentials for. Raises nothing that a provider could cause."""
    found = Found()
    await _slack(config, found)
    await _pagerduty(config, found)
    await _store(config, found)
    return found


async def _store(config: Config, found: Found) -> None:
    """A file is looked at by the bot that has it."""
    settings = config.settings.store
    if not settings.url.startswith(SCHEMES):
        return
    redis = RedisStore(
        settings.url,
        allow_eviction=settings.allow_eviction,
        wait_replicas=settings.wait_replicas,
        wait_disk=settings.wait_disk,
    )
    try:
        found.notes += await redis.examine() or ["Redis: it answers, and its settings keep what it is given"]
    except StoreError as error:
        found.problems.append(config.problem(("store", "url"), str(error)))


async def _slack(config: Config, found: Found) -> None:
    settings = config.settings.global_
    channels: dict[str, list[tuple[Path, str]]] = {}
    for entry in entries(config.settings):
        if isinstance(entry.integration, Slack) and entry.integration.bot_token:
            channels.setdefault(entry.integration.bot_token, []).append((entry.path, entry.integration.channel))
    own = plain(settings.slack_bot_token)
    if own:
        channels.setdefault(own, [])
    if not channels:
        found.notes.append("Slack: there is no slack_bot_token, so nothing was asked")
    for token, wanted in channels.items():
        where: Path = ("global", "slack_bot_token") if token == own else wanted[0][0]
        api = SlackApi(token, base_url=settings.slack_api_url)
        try:
            granted = await _granted(api, found)
            for scope, why in scopes(config.settings).items():
                if granted is not None and scope not in granted:
                    what = f"the bot lacks the scope {scope}: it is there to {why}"
                    found.problems.append(config.problem(where, what))
            found.problems += [p async for p in _channels(config, api, wanted, granted or frozenset())]
        except RefusedError as e:
            found.problems.append(config.problem(where, e.for_people()))
        except LostError as e:
            found.problems.append(config.problem(where, str(e)))
    app = plain(settings.slack_app_token)
    if app:
        try:
            await SlackApi(app, base_url=settings.slack_api_url).call("apps.connections.open", {}, seconds=SECONDS)
            found.notes.append("Slack: Socket Mode would connect")
        except (RefusedError, LostError) as e:
            what = f"{e}: an app token (xapp-…) with the scope {APP_SCOPE} is needed"
            found.problems.append(config.problem(("global", "slack_app_token"), what))
    elif plain(settings.slack_signing_secret):
        found.notes.append("Slack: the signing secret can be tested by a slash command only: type /incident")
    elif channels:
        found.notes.append("Slack: no slack_signing_secret and no slack_app_token, so cards have no buttons")


async def _granted(api: SlackApi, found: Found) -> frozenset[str] | None:
    """The token's scopes; None where Slack does not say."""
    answer, headers = await api.ask("auth.test", {}, seconds=SECONDS)
    found.notes.append(f"Slack: {answer.get('user')} in {answer.get('team')}")
    said = next((v for k, v in headers.items() if k.lower() == "x-oauth-scopes"), None)
    return None if said is None else frozenset(s.strip() for s in said.split(","))


async def _channels(
    config: Config, api: SlackApi, wanted: list[tuple[Path, str]], granted: frozenset[str]
) -> AsyncIterator[Problem]:
    """What is wrong with each channel."""
    listed = [c for c in wanted if c[1].startswith("#")]
    names = {c["name"]: c async for c in _listed(api, granted)} if listed else {}
    for path, channel in wanted:
        place = (*path, "channel")
        if channel.startswith("#"):
            info = names.get(channel.removeprefix("#"))
            if info is None:
                what = f"{channel}: no such channel, or a private one that the bot is not in: /invite @alertbot"
                yield config.problem(place, what)
                continue
        else:
            try:
                answer = await api.call("conversations.info", {"channel": channel}, seconds=SECONDS)
                info = answer.get("channel") or {}
            except RefusedError as e:
                yield config.problem(place, f"{channel}: {e.for_people()}")
                continue
        for what in _wrong_with(info, granted):
            yield config.problem(place, f"{channel}: {what}")


def _wrong_with(info: Mapping[str, Any], granted: frozenset[str]) -> Iterator[str]:
    if info.get("is_archived"):
        yield "the channel is archived"
    elif not info.get("is_member") and not info.get("is_im"):
        if info.get("is_private"):
            yield "the bot is not in it: /invite @alertbot"
        elif "channels:join" not in granted:
            yield "the bot is not in it, and may not join by itself: /invite @alertbot"


async def _listed(api: SlackApi, granted: frozenset[str]) -> AsyncIterator[dict[str, Any]]:
    types = "public_channel,private_channel" if "groups:read" in granted else "public_channel"
    cursor: str | None = None
    for _ in range(PAGES):
        args = {"types": types, "limit": 1000, "cursor": cursor}
        answer = await api.call("conversations.list", args, seconds=SECONDS)
        for channel in answer.get("channels") or ():
            yield channel
        cursor = (answer.get("response_metadata") or {}).get("next_cursor") or None
        if cursor is None:
            return


async def _pagerduty(config: Config, found: Found) -> None:
    settings = config.settings.global_
    keys = [e for e in entries(config.settings) if isinstance(e.integration, PagerDuty) and e.integration.routing_key]
    if keys:
        receivers = ", ".join(dict.fromkeys(e.receiver for e in keys))
        found.notes.append(
            f"PagerDuty: a routing key can be tested by an event only: alertbot test RECEIVER ({receivers})"
        )
    token = plain(settings.pagerduty_api_token)
    if not token:
        return
    rest = PagerDutyRest(token, settings.pagerduty_api_url, timeout=SECONDS)
    try:
        duties = await rest.on_call()
    except RestError as e:
        found.problems.append(config.problem(("global", "pagerduty_api_token"), f"PagerDuty: {e}"))
    else:
        found.notes.append(f"PagerDuty: the token is good, {len(duties)} on call now")
    finally:
        rest.close()
