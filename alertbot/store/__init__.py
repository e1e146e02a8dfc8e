"""Everything durable, behind the narrow interface in `base`."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from alertbot.store.base import Store


def open_store(
    url: str,
    *,
    readonly: bool = False,
    allow_eviction: bool = False,
    wait_replicas: int = 0,
    wait_disk: bool = False,
) -> Store:
    """The store that a URL names, not opened yet.

    `sqlite:///file.db` is relative to the working directory, `sqlite:////var/lib/alertbot.db` absolute;
    `memory:` lives and dies with the process; for Redis see `alertbot.redis_url.RedisUrl`, and for the last
    three `alertbot.store.redis.RedisStore`: they are Redis' alone. `readonly` looks at a store beside the bot that
    serves it. Raises ValueError for a URL that names no store.
    """
    scheme = urlsplit(url).scheme
    if scheme == "memory":
        from alertbot.store.memory import MemoryStore

        return MemoryStore()
    if scheme == "sqlite":
        from alertbot.store.sqlite import SqliteStore

        prefix, path = "sqlite:///", unquote(url[len("sqlite:///") :])
        if not url.startswith(prefix) or not path or path.startswith(":"):
            raise ValueError(f"store.url {url!r}: expected sqlite:///FILE, or sqlite:////ABSOLUTE/FILE")
        return SqliteStore(Path(path), readonly=readonly)
    if scheme.startswith("redis"):
        from alertbot.store.redis import RedisStore

        return RedisStore(
            url,
            readonly=readonly,
            allow_eviction=allow_eviction,
            wait_replicas=wait_replicas,
            wait_disk=wait_disk,
        )
    # Not the URL itself: there may be a password in it.
    raise ValueError(f"store.url: no store is of the kind {scheme!r}; expected sqlite:///FILE, or redis://HOST")
