"""What is stored, in words that show a change: the fields of every document, and where each thing lies in Redis.

`recorded/schema-N.json` has it for each schema number of Redis. What may change within a number, and why, is in
docs/adr/0018. After a change that may be: python -m tests.store.shapes
"""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import json
import shutil
import sys
import tempfile
import typing
from pathlib import Path
from typing import Any, Final

import msgspec
import redis

from alertbot.domain.reasons import Reason
from alertbot.redis_url import RedisUrl
from alertbot.store import codec, redis_rows
from alertbot.store.redis import RedisStore
from alertbot.store.redis_schema import SCHEMA
from alertbot.store.sqlite_file import SCHEMA as MIGRATIONS
from tests.standins.redis_servers import RedisServer
from tests.store.builders import at
from tests.store.filled import fill

RECORDED: Final = Path(__file__).parent / "recorded"
#: The modules with the decoders of all that is stored.
DECODERS: Final = (codec, redis_rows)
#: An older version reads what it does not know of these as it stands.
OPEN: Final = frozenset({Reason.__name__})
RULE: Final = (
    "That takes a new number in redis_schema.SCHEMA, and a new file in store/schema (docs/adr/0018). A number that no"
    " release has had may be recorded anew: remove its file in tests/store/recorded first."
)

Shapes = dict[str, Any]


def file_of(number: int) -> Path:
    return RECORDED / f"schema-{number}.json"


# Documents.


def shapes() -> Shapes:
    """Of this version: documents by type name, and values by enum name."""
    documents: dict[str, dict[str, str]] = {}
    values: dict[str, list[str]] = {}
    for module in DECODERS:
        for decoder in vars(module).values():
            if isinstance(decoder, msgspec.json.Decoder):
                _collect(decoder.type, documents, values)
    return {"sqlite": len(list(MIGRATIONS.glob("[0-9]*.sql"))), "documents": documents, "values": values}


def _collect(kind: Any, documents: dict[str, dict[str, str]], values: dict[str, list[str]]) -> None:
    """Adds a type, and those that it is made of."""
    for part in typing.get_args(kind):
        _collect(part, documents, values)
    if not isinstance(kind, type) or kind.__name__ in documents:
        return
    if issubclass(kind, enum.Enum):
        values[kind.__name__] = [str(member.value) for member in kind]
    elif dataclasses.is_dataclass(kind) or issubclass(kind, msgspec.Struct):
        hints = typing.get_type_hints(kind)
        documents[kind.__name__] = {
            name: f"{kind.__annotations__[name]}{_default(default)}" for name, default in _fields(kind)
        }
        for hint in hints.values():
            _collect(hint, documents, values)


def _fields(kind: Any) -> list[tuple[str, Any]]:
    """Names and defaults: MISSING for none."""
    if issubclass(kind, msgspec.Struct):
        assert all(f.required for f in msgspec.structs.fields(kind))
        return [(f.name, dataclasses.MISSING) for f in msgspec.structs.fields(kind)]
    return [
        (f.name, f.default if f.default_factory is dataclasses.MISSING else f.default_factory())
        for f in dataclasses.fields(kind)
    ]


def _default(value: Any) -> str:
    if value is dataclasses.MISSING:
        return ""
    return f" = {type(value).__name__}(…)" if dataclasses.is_dataclass(value) else f" = {value!r}"


def problems(old: Shapes, new: Shapes) -> list[str]:
    """Why versions with these shapes cannot share a store; empty where they can."""
    found: list[str] = []
    for name, was in old["documents"].items():
        now = new["documents"].get(name, {})
        found += [
            f"{name}.{f} was {kind}, and is {now.get(f, 'gone')}" for f, kind in was.items() if now.get(f) != kind
        ]
        added = [f for f, kind in now.items() if f not in was and " = " not in kind]
        found += [f"{name}.{f} is new and has no default: an older document cannot be read" for f in added]
    for name, known in old["values"].items():
        now = new["values"].get(name, [])
        found += [f"{name} has no {value!r} any more" for value in known if value not in now]
        if name not in OPEN:
            found += [
                f"{name} has {value!r}, which an older version cannot read" for value in now if value not in known
            ]
    if old["layout"] != new["layout"]:
        found.append("things lie elsewhere in Redis: an older version would not keep the indexes")
    return found


# Where things lie.


async def layout(url: str) -> dict[str, list[str]]:
    """What a filled store has in Redis, by key: documents by their names alone, members of indexes with their score."""
    store = RedisStore(url)
    await store.open()
    await store.renew(at(0))
    await fill(store)
    await store.due(at(90), 10)
    address = RedisUrl.of(url)
    prefix = f"{{{address.prefix}}}:"
    with redis.Redis(*address.hosts[0], db=address.db) as client:
        us = client.zrange(f"{prefix}replicas", 0, -1)[0].decode()
        found = {
            name: sorted(text.replace(us, "us").replace("\0", "|") for text in _members(client, prefix + name))
            for name in (key.decode().removeprefix(prefix) for key in client.scan_iter(f"{prefix}*"))
            if not name.startswith("request:")
        }
    await store.close()
    return dict(sorted(found.items()))


#: Hashes whose values are documents, or bodies.
_DOCUMENTS: Final = frozenset(
    {
        "alerts",
        "incidents",
        "rows",
        "entries",
        "parked",
        "parked.raw",
        "windows",
        "deploys",
        "budgets",
        "bodies",
        "breakers",
    }
)


def _members(client: Any, key: str) -> list[str]:
    kind = client.type(key)
    if kind == b"zset":
        return [f"{member.decode()} {score:.0f}" for member, score in client.zrange(key, 0, -1, withscores=True)]
    if kind == b"hash" and key.rpartition(":")[2] in _DOCUMENTS:
        return [name.decode() for name in client.hkeys(key)]
    if kind == b"hash":
        return [f"{name.decode()} {value.decode()}" for name, value in client.hgetall(key).items()]
    return [client.get(key).decode()]


def main() -> None:
    """Writes down the shapes of this version, where the rule allows it."""
    program = shutil.which("redis-server")
    if program is None:
        sys.exit("there is no redis-server: tests/install_servers")
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(program), Path(folder), save='""').start()
        try:
            new = {**shapes(), "layout": asyncio.run(layout(server.url))}
        finally:
            server.stop()
    path = file_of(SCHEMA.number)
    if path.exists() and (wrong := problems(json.loads(path.read_text()), new)):
        sys.exit("\n".join((*wrong, RULE)))
    path.write_text(json.dumps(new, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
