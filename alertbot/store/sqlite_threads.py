"""The threads of the embedded store: one that writes, those that read, one that checkpoints.

All calls that wait to write are one transaction, and one fsync. Other threads could not write at the same
time anyway, and a thread that owns its connection needs no lock. No thread dies of an error: what went wrong
is the answer to the call concerned.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgspec

from alertbot.store.base import StoreError, StoreUnavailable
from alertbot.store.sqlite_file import DatabaseFile, is_full

log = logging.getLogger(__name__)
T = TypeVar("T")

#: Calls that share one transaction at the most.
BATCH: Final = 512
#: Pages that a transaction writes besides its data: the leaves of the tables and indexes it touches. An
#: estimate.
PAGES_A_COMMIT: Final = 8
PAGE: Final = 4096
#: Pages in the WAL after which they are copied to the file, in the background.
CHECKPOINT_PAGES: Final = 2000
#: Pages in the WAL after which commits wait for the copy once, so that the WAL can begin anew.
WAL_PAGES: Final = 16_000

EventRow = tuple[int, str, str, bytes]  # at, source, trace_id, body


@dataclass(frozen=True, slots=True)
class Job:
    """One call: events to append, or anything else to `run` inside the transaction."""

    future: asyncio.Future[Any]
    run: Callable[[sqlite3.Connection], Any] | None = None
    events: Sequence[EventRow] = ()
    size: int = 0
    """Bytes that it writes, roughly."""


class Writer:
    """Owns the write connection. `commits` and `jobs` count transactions and the calls that they carried."""

    def __init__(
        self,
        file: DatabaseFile,
        append: Callable[[sqlite3.Connection, Sequence[EventRow]], int],
        written: Callable[[int], None],
    ) -> None:
        """`append` returns the seq of the first of consecutive events; `written` hears of pages after a
        commit.
        """
        self._file, self._append, self._written = file, append, written
        self._connection: sqlite3.Connection | None = None
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="alertbot-store-writer", daemon=True)
        self._closed = False
        self.commits = 0
        self.jobs = 0

    def start(self, connection: sqlite3.Connection) -> None:
        """Takes the connection over."""
        self._connection = connection
        self._thread.start()

    async def submit(
        self,
        run: Callable[[sqlite3.Connection], Any] | None = None,
        *,
        events: Sequence[EventRow] = (),
        size: int = 0,
    ) -> Any:
        """What `run` returned, once it is durable; for events, their first seq."""
        if self._closed:
            raise StoreUnavailable("the store is closed")
        future: asyncio.Future[Any] = self._loop.create_future()
        self._queue.put(Job(future, run, events, size))
        return await future

    def close(self) -> None:
        """Finishes what was begun. Blocks; idempotent."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
            self._thread.join()

    def _run(self) -> None:
        """1. Wait for a call. 2. Take all others that wait. 3. One transaction. 4. Answer all at once."""
        ending = False
        while not ending:
            first = self._queue.get()
            batch: list[Job] = []
            while True:
                if first is None:
                    ending = True
                    break
                batch.append(first)
                if len(batch) == BATCH:
                    break
                try:
                    first = self._queue.get_nowait()
                except queue.Empty:
                    break
            if batch:
                self._answer(batch, self._execute(batch))
        if self._connection is not None:
            self._connection.close()

    def _execute(self, jobs: Sequence[Job], *, again: bool = False) -> list[Any]:
        """The results, each a value or the exception that is its caller's. What finds no room is tried `again` once the
        log has given its room back.
        """
        begun = False
        try:
            if self._connection is None:
                self._connection = self._file.connect()
            self._connection.execute("BEGIN IMMEDIATE")
            begun = True
            adds = PAGES_A_COMMIT * PAGE + sum(job.size for job in jobs)
            scarce = self._file.check_room(self._connection, adds, new=any(job.events for job in jobs))
            results = self._work(self._connection, jobs)
            self._connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001  # whatever it is, it is the answer to a call, and the thread has to live
            self._roll_back()
            if not again and is_full(error) and self._empty_log():
                return self._execute(jobs, again=True)
            if len(jobs) > 1 and begun:
                return [result for job in jobs for result in self._execute([job], again=is_full(error))]
            return [self._file.translate(error) for _ in jobs]
        self.commits += 1
        self.jobs += len(jobs)
        self._written(CHECKPOINT_PAGES if scarce else adds // PAGE)
        return results

    def _work(self, connection: sqlite3.Connection, jobs: Sequence[Job]) -> list[Any]:
        events = [event for job in jobs for event in job.events]
        seq = self._append(connection, events) if events else 0
        results: list[Any] = []
        for job in jobs:
            if job.run is not None:
                results.append(job.run(connection))
            else:
                results.append(seq)
                seq += len(job.events)
        return results

    def _empty_log(self) -> bool:
        """Whether the log has given room back. Where it cannot, the call that has no room says so."""
        if self._connection is None or not self._file.log_size():
            return False
        try:
            busy, *_ = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error:
            return False
        return not busy

    def _roll_back(self) -> None:
        """Back to where the transaction began; with a connection that can't do even that, a new one next
        time.
        """
        connection = self._connection
        if connection is None:
            return
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            log.warning("rollback failed, connecting anew", extra={"error": str(error)})
            connection.close()
            self._connection = None

    def _answer(self, jobs: Sequence[Job], results: Sequence[Any]) -> None:
        def resolve() -> None:
            for job, result in zip(jobs, results, strict=True):
                if job.future.done():  # the caller went away
                    continue
                if isinstance(result, Exception):
                    job.future.set_exception(result)
                else:
                    job.future.set_result(result)

        try:
            self._loop.call_soon_threadsafe(resolve)
        except RuntimeError:  # the loop is closed: nobody waits any more
            log.warning("the event loop went away before the store", extra={"calls": len(jobs)})


class Reader:
    """A thread with a read connection of its own."""

    def __init__(self, connect: Callable[[], sqlite3.Connection], translate: Callable[[Exception], Exception]) -> None:
        self._connect, self._translate = connect, translate
        self._connection: sqlite3.Connection | None = None
        self._threads = ThreadPoolExecutor(1, "alertbot-store-reader")
        self._loop = asyncio.get_running_loop()

    async def run(self, read: Callable[[sqlite3.Connection], T]) -> T:
        """What `read` returned. Raises `StoreUnavailable`, also where the store is closed."""
        try:
            return await self._loop.run_in_executor(self._threads, self._run, read)
        except RuntimeError as error:
            if isinstance(error, StoreError):
                raise
            raise StoreUnavailable("the store is closed") from error

    def _run(self, read: Callable[[sqlite3.Connection], T]) -> T:
        try:
            if self._connection is None:
                self._connection = self._connect()
            return read(self._connection)
        except (sqlite3.Error, msgspec.MsgspecError) as error:
            if self._connection is not None and self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise self._translate(error) from error

    def close(self) -> None:
        """Finishes what was begun. Blocks; idempotent."""
        self._threads.shutdown(wait=True)
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Checkpointer:
    """Copies the WAL to the file in the background, so that no commit has to wait for it."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connect = connect
        self._pages = 0
        self._wanted = threading.Event()
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="alertbot-store-checkpoint", daemon=True)

    def start(self) -> None:
        """Begins to wait for work."""
        self._thread.start()

    def written(self, pages: int) -> None:
        """The writer says that it committed about so many pages."""
        self._pages += pages
        if self._pages >= CHECKPOINT_PAGES:
            self._pages = 0
            self._wanted.set()

    def _run(self) -> None:
        connection: sqlite3.Connection | None = None
        while True:
            self._wanted.wait()
            self._wanted.clear()
            if self._ending:
                break
            try:
                if connection is None:
                    connection = self._connect()
                    connection.execute("PRAGMA busy_timeout = 500")  # less than the writer waits for it
                _, pages, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                if pages > WAL_PAGES:  # commits came in faster than they were copied: hold them up for once
                    connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
            except sqlite3.Error as error:  # no harm: the WAL holds everything, and the next time comes
                log.warning("checkpoint failed", extra={"error": str(error)})
        if connection is not None:
            connection.close()

    def close(self) -> None:
        """Blocks until a checkpoint under way is over; idempotent."""
        if self._thread.is_alive():
            self._ending = True
            self._wanted.set()
            self._thread.join()
