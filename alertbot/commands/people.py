"""Who somebody in Slack is, and whether they may act: asked of Slack, remembered for a while."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from alertbot import render
from alertbot.commands.base import Person
from alertbot.notifiers.slack_api import LostError, RefusedError, SlackApi

log = logging.getLogger(__name__)

#: How long what Slack said of a person, and of a group's members, is believed.
KNOWN_FOR: Final = timedelta(hours=1)
MEMBERS_FOR: Final = timedelta(minutes=5)
#: Seconds that Slack has to answer: the one who pressed waits, and Slack gives us three in all.
SECONDS: Final = 0.5
#: After Slack did not answer, it is asked again no sooner: each press would wait for it.
UNKNOWN_FOR: Final = timedelta(minutes=1)
#: People remembered at most.
MOST: Final = 10_000


class UnknownMembersError(Exception):
    """Slack does not say now who is in a user group."""


@dataclass(frozen=True, slots=True)
class _Kept:
    person: Person
    until: datetime


class People:
    """The workspace's people, as far as alertbot had to do with them. Without an API only names are known."""

    def __init__(self, api: SlackApi | None, clock: Callable[[], datetime], seconds: float = SECONDS) -> None:
        self._api = api
        self._clock = clock
        self._seconds = seconds
        self._people: dict[str, _Kept] = {}
        self._members: dict[str, tuple[frozenset[str], datetime]] = {}

    async def person(self, user: str, handle: str = "") -> Person:
        """Somebody by Slack's ID. Where Slack does not say more in time it is the name that came with the press."""
        now = self._clock()
        kept = self._people.get(user)
        if kept is not None and now < kept.until:
            return kept.person
        fallback = kept.person if kept is not None else Person(user, _clean(handle or user))
        if self._api is None:
            return fallback
        try:
            answer = await self._api.call("users.info", {"user": user}, seconds=self._seconds)
        except (RefusedError, LostError) as e:
            log.warning("a person is known by name only: %s", e, extra={"user": user})
            self._people[user] = _Kept(fallback, now + UNKNOWN_FOR)
            return fallback
        said = answer.get("user") or {}
        profile = said.get("profile") or {}
        names = (profile.get("display_name"), profile.get("real_name"), said.get("name"), handle, user)
        name = next(found for n in names if n and (found := _clean(n)))
        person = Person(user, name, _clean(profile.get("email") or "").lower())
        if len(self._people) >= MOST:
            self._people.clear()
        self._people[user] = _Kept(person, now + KNOWN_FOR)
        return person

    async def may_act(self, person: Person, allowed: Collection[str] | None) -> bool:
        """Whether somebody is among those allowed: IDs, mail addresses, user groups' IDs; None: everybody is.

        Raises `UnknownMembersError` where that hangs on a group of which Slack does not say who is in it.
        """
        if allowed is None or person.id in allowed or (person.email and person.email in allowed):
            return True
        for group in sorted(a for a in allowed if a.startswith("S") and "@" not in a):
            if person.id in await self._members_of(group):
                return True
        return False

    async def _members_of(self, group: str) -> frozenset[str]:
        now = self._clock()
        kept = self._members.get(group)
        if kept is not None and now < kept[1]:
            return kept[0]
        try:
            if self._api is None:
                raise LostError("there is no slack_bot_token", perhaps=False)
            answer = await self._api.call("usergroups.users.list", {"usergroup": group}, seconds=self._seconds)
        except (RefusedError, LostError) as e:
            log.warning("a user group's members are not known: %s", e, extra={"group": group})
            raise UnknownMembersError(str(e)) from None
        members = frozenset(map(str, answer.get("users") or ()))
        self._members[group] = (members, now + MEMBERS_FOR)
        return members


def _clean(text: object) -> str:
    return render.cut(render.one_line(text), 100)
