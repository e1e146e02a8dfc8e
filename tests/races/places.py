"""Whether every document in Redis is found where it should be, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec
import redis

from alertbot.redis_url import RedisUrl
from alertbot.store import codec
from alertbot.store.base import Parked
from alertbot.store.redis_rows import (
    Place,
    alert_places,
    deploy_places,
    entry_places,
    incident_places,
    parked_places,
    read_number,
    row_places,
    window_places,
)


def _numbered(places: Callable[[int, Any], Iterable[Place]], decoder: msgspec.json.Decoder[Any]) -> Any:
    def of(_: bytes, doc: bytes) -> Iterable[Place]:
        seq, text = read_number(doc)
        return places(seq, decoder.decode(text))

    return of


#: Hash of documents → the places of one, by its name and text.
PLACES: Final[Mapping[str, Callable[[bytes, bytes], Iterable[Place]]]] = {
    "alerts": lambda _, doc: alert_places(codec.alert.decode(doc)),
    "incidents": _numbered(incident_places, codec.incident),
    "rows": _numbered(row_places, codec.row),
    "entries": lambda seq, doc: entry_places(int(seq), codec.entry.decode(doc)),
    "windows": lambda _, doc: window_places(codec.window.decode(doc)),
    "deploys": lambda _, doc: deploy_places(codec.deploy.decode(doc)),
    "parked": lambda _, doc: parked_places(msgspec.json.decode(doc, type=Parked)),
}
#: Sorted sets that are no index of documents.
OTHERS: Final = frozenset({"events", "undecided", "replicas"})


def misplaced(url: str) -> Iterator[str]:
    """What is found where nothing stands, or stands where it is not found."""
    address = RedisUrl.of(url)
    prefix = f"{{{address.prefix}}}:"
    ((host, port),) = address.hosts
    with redis.Redis(host=host, port=port) as client:
        should: set[Place] = set()
        for hash_, places in PLACES.items():
            for name, doc in client.hgetall(f"{prefix}{hash_}").items():
                should.update(places(name, doc))
        are: set[Place] = set()
        for key in client.scan_iter(f"{prefix}*", _type="zset"):
            index = key.decode().removeprefix(prefix)
            if index not in OTHERS:
                are.update((index, int(score), m.decode()) for m, score in client.zrange(key, 0, -1, withscores=True))
        undecided = {m.decode() for m in client.zrange(f"{prefix}undecided", 0, -1)}
        owned = {name.decode() for name in client.hkeys(f"{prefix}owners")}
    yield from (f"nothing stands at {place}" for place in sorted(are - should))
    yield from (f"not found at {place}" for place in sorted(should - are))
    yield from (f"event {seq} is undecided or owned, and not both" for seq in sorted(undecided ^ owned))
