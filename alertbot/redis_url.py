"""The URL of a Redis: where it is, and what it is asked to be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

SCHEMES: Final = ("redis", "rediss", "redis+sentinel", "redis+cluster")


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """What a URL says.

    `redis://[user:password@]host[:port][/db]`, `rediss://` the same with TLS,
    `redis+sentinel://[user:password@]host[:port][,host[:port]...]/NAME[/db]`, `redis+cluster://…host[:port][,…]`.
    Options: `prefix` (of the keys, "alertbot"), `ca` (a file of certificates), `tls=true` (Sentinel and Cluster),
    `sentinel_password`.
    """

    scheme: str
    hosts: tuple[tuple[str, int], ...]
    user: str | None
    password: str | None
    master: str
    db: int
    prefix: str
    tls: bool
    ca: str | None
    sentinel_password: str | None

    @classmethod
    def of(cls, url: str) -> RedisUrl:
        """Raises ValueError that says what is wrong, without the password."""
        parts = urlsplit(url)
        if parts.scheme not in SCHEMES:
            raise ValueError(f"expected one of {', '.join(f'{s}://' for s in SCHEMES)}")
        login, _, places = parts.netloc.rpartition("@")
        user, colon, password = login.partition(":")
        options = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        unknown = sorted(options.keys() - {"prefix", "ca", "tls", "sentinel_password"})
        if unknown:
            raise ValueError(f"unknown options: {', '.join(unknown)}")
        sentinel = parts.scheme == "redis+sentinel"
        hosts = tuple(_host(place, 26379 if sentinel else 6379) for place in places.split(","))
        if len(hosts) > 1 and parts.scheme in ("redis", "rediss"):
            raise ValueError("several hosts are for redis+sentinel:// and redis+cluster://")
        path = [unquote(p) for p in parts.path.split("/") if p]
        master = path.pop(0) if sentinel and path else ""
        if sentinel and not master:
            raise ValueError("expected the name of the master after the hosts: redis+sentinel://HOST,HOST/NAME")
        if len(path) > 1 or (path and not path[0].isdecimal()) or (path and parts.scheme == "redis+cluster"):
            raise ValueError("expected a database's number, or nothing, after the host (a cluster has none)")
        prefix = options.get("prefix", "alertbot")
        if not prefix or not prefix.isprintable() or set(prefix) & set("{} "):
            raise ValueError("prefix must have no braces or spaces")
        return cls(
            parts.scheme,
            hosts,
            unquote(user) or None,
            unquote(password) if colon else None,
            master,
            int(path[0]) if path else 0,
            prefix,
            parts.scheme == "rediss" or options.get("tls") == "true",
            options.get("ca"),
            options.get("sentinel_password"),
        )

    @property
    def secrets(self) -> list[str]:
        """What no log may show."""
        return [secret for secret in (self.password, self.sentinel_password) if secret]

    @property
    def shown(self) -> str:
        """Without what is secret."""
        places = ",".join(f"{host}:{port}" for host, port in self.hosts)
        return f"{self.scheme}://{places}/{self.master or self.db}"


def _host(place: str, port: int) -> tuple[str, int]:
    parts = urlsplit(f"//{place}")
    if not parts.hostname:
        raise ValueError("expected a host, such as redis://localhost:6379/0")
    return parts.hostname, parts.port or port
