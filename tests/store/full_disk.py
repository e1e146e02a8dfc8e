"""What happens on a small file system of one's own that is full: `python -m tests.store.full_disk SCENE FOLDER`.

Run by `test_full_disk` where a file system can be mounted; what is wrong is an AssertionError, and its exit code.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from alertbot.store.base import Changes, StoreUnavailable
from alertbot.store.sqlite import SqliteStore
from tests.store.builders import alert, at, incident, raw

BODY = b"x" * 64_000


async def append(store: SqliteStore) -> int:
    (seq,) = await store.append([raw(BODY)])
    return seq


async def append_until_refused(store: SqliteStore) -> list[int]:
    taken: list[int] = []
    with suppress(StoreUnavailable):
        while len(taken) < 10_000:
            taken.append(await append(store))
    assert 0 < len(taken) < 10_000, "the disk was never full"
    return taken


async def filled_by_others(store: SqliteStore, folder: Path) -> None:
    """Again and again another program takes the last byte, while events come, and gives all back."""
    ballast = folder / "ballast"
    accepted = 0
    for _ in range(8):
        for _ in range(10):
            accepted += bool(await append(store))
        with suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        for _ in range(10):
            with suppress(StoreUnavailable):
                accepted += bool(await append(store))
        with pytest.raises(StoreUnavailable, match="no space left"):
            await store.append([raw(BODY)])
        ballast.unlink()
        accepted += bool(await append(store))  # at once: nobody has to start it again
    assert len(await store.undecided(10_000)) == accepted


async def filled_by_itself(store: SqliteStore, folder: Path) -> None:
    """Nobody else is there to give room back: retention is. And what was accepted is decided meanwhile."""
    for round_ in range(3):
        taken = await append_until_refused(store)
        for seq in taken:
            name = f"i{round_}-{seq}"
            await store.commit(Changes([seq], [alert("a", name)], [incident(name)]))
        assert await store.undecided(10) == []
        assert await store.trim(at(3600)) >= len(taken)
        assert len(await append_until_refused(store)) > len(taken) / 2, "what was forgotten made no room"
        await store.commit(Changes([e.seq for e in await store.undecided(10_000)]))
        await store.trim(at(3600))


async def one_too_large(store: SqliteStore, folder: Path) -> None:
    """A body that is larger than all the room is refused alone, and nothing of it stays in the way."""
    for _ in range(5):
        answers = await asyncio.gather(
            append(store), store.append([raw(b"x" * 30_000_000)]), append(store), return_exceptions=True
        )
        assert isinstance(answers[1], StoreUnavailable), answers[1]
        assert isinstance(answers[0], int), answers[0]
        assert isinstance(answers[2], int), answers[2]


SCENES: dict[str, Callable[[SqliteStore, Path], Awaitable[None]]] = {
    scene.__name__: scene for scene in (filled_by_others, filled_by_itself, one_too_large)
}


async def main(scene: str, folder: Path) -> None:
    store = SqliteStore(folder / "alertbot.db")
    await store.open()
    await SCENES[scene](store, folder)
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
