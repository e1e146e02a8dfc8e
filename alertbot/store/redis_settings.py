"""What Redis' own settings mean for what alertbot promises. Pure: settings in, sentences out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

#: What `CONFIG GET` is asked for.
SETTINGS: Final = ("appendonly", "appendfsync", "maxmemory", "maxmemory-policy", "save")


def eviction(settings: Mapping[str, str]) -> str:
    """Why accepted alerts could vanish while Redis runs; empty where they can't.

    Without `maxmemory` nothing is evicted, but it can be set at any time, so the policy alone decides.
    """
    policy = settings.get("maxmemory-policy", "noeviction")
    if policy == "noeviction":
        return ""
    limit = settings.get("maxmemory", "0")
    when = f"at {limit} bytes" if limit != "0" else "as soon as maxmemory is set"
    return f"maxmemory-policy is {policy}: {when} Redis throws away what alertbot accepted; set it to noeviction"


def durability(settings: Mapping[str, str]) -> str:
    """What is lost when the server's process or machine dies; empty where nothing is."""
    if settings.get("appendonly") != "yes":
        if settings.get("save"):
            return "appendonly is off: a crash of Redis loses what came since its last snapshot; set it to yes"
        return "appendonly and save are off: a restart of Redis loses everything; set appendonly to yes"
    fsync = settings.get("appendfsync")
    if fsync == "everysec":
        return (
            "appendfsync is everysec: a crash of Redis' machine can lose the last second or two; always loses nothing"
        )
    if fsync == "no":
        return "appendfsync is no: a crash of Redis' machine can lose half a minute; set it to always"
    return ""
