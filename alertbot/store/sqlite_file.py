"""The SQLite file: whose it is, of which version, whether it is whole, and who has it.

Never a new database in the place of one that cannot be read: whatever is in doubt raises `StoreUnusable`,
with the file's path and what to do.
"""

# ruff: noqa: S608  # all pieces of SQL are our constants; values are bound
from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import msgspec

from alertbot.store.base import StoreError, StoreUnavailable, StoreUnusable

#: "alrt": says in the file's header whose it is.
APPLICATION_ID: Final = 0x616C7274
SCHEMA: Final = Path(__file__).parent / "schema"
#: A file up to this size is checked whole after an unclean end; a larger one would keep the start waiting.
CHECKED_BYTES: Final = 64 * 1024 * 1024
#: Bytes on the disk below which each transaction has to ask whether there is room for it.
SCARCE: Final = 256 * 1024 * 1024
#: Bytes on the disk that new events leave to what was accepted before, and to forgetting, which writes too.
SPARE: Final = 8 * 1024 * 1024
#: Bytes of log that are kept after a checkpoint, to be written over.
WAL_BYTES: Final = 64 * 1024 * 1024

_UNAVAILABLE: Final = {
    sqlite3.SQLITE_FULL: "no space left",
    sqlite3.SQLITE_IOERR: "input/output error",
    sqlite3.SQLITE_BUSY: "locked by another program",
    sqlite3.SQLITE_LOCKED: "locked by another program",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened",
    sqlite3.SQLITE_READONLY: "not writable",
    sqlite3.SQLITE_PERM: "no permission",
    sqlite3.SQLITE_NOMEM: "out of memory",
}
_MEND: Final = "stop alertbot, put a backup in its place or save what can be read with `sqlite3 FILE .recover`"


class NoRoom(StoreUnavailable):
    """The disk is too full for it."""


class DatabaseFile:
    """One file and the advisory lock beside it. `schema` is the folder of the numbered migrations."""

    def __init__(self, path: Path, *, readonly: bool, schema: Path) -> None:
        self.path = path
        self._readonly = readonly
        self._schema = schema
        self._lock: int | None = None

    def open(self) -> sqlite3.Connection:
        """The connection to write with (readonly: to read), its file locked, checked and up to date."""
        try:
            return self._open()
        except (sqlite3.Error, OSError) as error:
            self.unlock()
            raise self.translate(error) from error
        except StoreError:
            self.unlock()
            raise

    def _open(self) -> sqlite3.Connection:
        if not self.path.parent.is_dir():
            raise StoreUnusable(f"{self.path.parent}: no such directory; create it, writable by alertbot")
        if not self._readonly:
            self._take_lock()
        unclean = self.log_size() > 0
        if not self.path.exists():
            if self._readonly:
                raise StoreUnusable(f"{self.path}: no such file; start alertbot first")
            if unclean:
                raise StoreUnusable(
                    f"{self.path} is gone but {self.path.name}-wal holds data of it:"
                    " put the file back, or remove both to start empty"
                )
            self._create()
        elif self.path.is_dir():
            raise StoreUnusable(f"{self.path} is a directory; name a file in it")
        elif self.path.stat().st_size == 0 and not unclean:
            raise StoreUnusable(
                f"{self.path} is empty, so something cut it off: put a backup in its place, or remove it to start empty"
            )
        with closing(self.reading()) as connection:  # a file that is not ours is not to be touched
            self._check(connection, unclean)
        connection = self.reading() if self._readonly else self.connect()
        try:
            if not self._readonly:
                _migrate(connection, self._migrations(), self.path)
        except BaseException:
            connection.close()
            raise
        return connection

    def _check(self, connection: sqlite3.Connection, unclean: bool) -> None:
        """Whose file it is, of which version, and whether it can be read."""
        owner = first(connection, "PRAGMA application_id")
        if owner != APPLICATION_ID:
            raise StoreUnusable(f"{self.path} is a database of another program; name another file in store.url")
        version, newest = first(connection, "PRAGMA user_version"), len(self._migrations())
        if version > newest:
            raise StoreUnusable(
                f"{self.path} was written by a newer alertbot"
                f" (schema {version}, this one knows {newest}): upgrade alertbot"
            )
        if version < newest and self._readonly:
            raise StoreUnusable(
                f"{self.path} was written by an older alertbot"
                f" (schema {version}): start this one once to bring it up to date"
            )
        size = self.path.stat().st_size
        if unclean and not self._readonly and size <= CHECKED_BYTES:
            found = first(connection, "PRAGMA quick_check(1)")
            if found != "ok":
                raise StoreUnusable(f"{self.path} is damaged ({found}): {_MEND}")
        elif not unclean and size < first(connection, "PRAGMA page_count") * first(connection, "PRAGMA page_size"):
            raise StoreUnusable(f"{self.path} is damaged (its end is missing): {_MEND}")
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            connection.execute(f'SELECT * FROM "{table}" ORDER BY rowid DESC LIMIT 1').fetchall()

    def _create(self) -> None:
        """Makes the file under another name first: a file that is there is one that was finished."""
        new = Path(f"{self.path}.new")
        for stale in (new, Path(f"{new}-wal"), Path(f"{new}-shm"), Path(f"{new}-journal")):
            stale.unlink(missing_ok=True)
        with closing(_connect(new)) as connection:
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            _migrate(connection, self._migrations(), self.path)
        new.rename(self.path)
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _migrations(self) -> list[Path]:
        return sorted(self._schema.glob("[0-9]*.sql"))

    def _take_lock(self) -> None:
        """An advisory lock that dies with the process, in a file that is never removed."""
        name = f"{self.path}.lock"
        lock = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(lock, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(lock)
            raise StoreUnusable(
                f"{self.path} is in use by another alertbot (process {holder}): stop that one, or use another file"
            ) from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        self._lock = lock

    def unlock(self) -> None:
        """Lets another alertbot have the file. Idempotent."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def connect(self) -> sqlite3.Connection:
        """One more connection that may write."""
        return _connect(self.path)

    def reading(self) -> sqlite3.Connection:
        """One more connection that only reads."""
        return _connect(self.path, readonly=True)

    def log_size(self) -> int:
        """Bytes of the write-ahead log on the disk."""
        log = Path(f"{self.path}-wal")
        return log.stat().st_size if log.exists() else 0

    def check_room(self, c: sqlite3.Connection, adds: int, *, new: bool) -> bool:
        """Whether the disk is nearly full. Raises `NoRoom` where so many bytes, of `new` events or else, are too many.

        The log can only be copied to the file, and so give its room back, while there is room for the file to grow.
        SQLite does not see to that: without this, a log that has filled the disk fills it for ever.
        """
        disk = os.statvfs(self.path.parent)
        free = disk.f_frsize * (disk.f_bfree if os.geteuid() == 0 else disk.f_bavail)
        if free > SCARCE + 2 * adds:
            return False
        page, pages, unused = (first(c, f"PRAGMA {name}") for name in ("page_size", "page_count", "freelist_count"))
        grows = max(0, page * pages - self.path.stat().st_size) + max(0, adds - page * unused)
        needed = adds + grows + (SPARE if new and grows else 0)
        if free < needed:
            raise NoRoom(f"{self.path}: no space left ({free:,} bytes free, {needed:,} needed)")
        return True

    def translate(self, error: Exception) -> Exception:
        """Whose fault it is, and what to do."""
        if isinstance(error, msgspec.MsgspecError):
            return StoreUnusable(f"{self.path} holds a record that this alertbot cannot read: {error}")
        if isinstance(error, OSError):
            return StoreUnusable(f"{error.filename or self.path}: {error.strerror}")
        if not isinstance(error, sqlite3.Error):
            return error
        code = getattr(error, "sqlite_errorcode", None)
        primary = None if code is None else code & 0xFF
        if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return StoreUnusable(f"{self.path} is damaged ({error}): {_MEND}")
        if primary in _UNAVAILABLE:
            return StoreUnavailable(f"{self.path}: {_UNAVAILABLE[primary]} ({error})")
        return StoreError(f"{self.path}: {error}")


def is_full(error: Exception) -> bool:
    """Whether it may be for want of room; SQLite has another word for it where its index of the log cannot grow."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return isinstance(error, NoRoom) or code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


def first(c: sqlite3.Connection, sql: str, params: Sequence[Any] = ()) -> Any:
    """The first column of the first row, or None."""
    found = c.execute(sql, params).fetchone()
    return None if found is None else found[0]


def _connect(path: Path, *, readonly: bool = False) -> sqlite3.Connection:
    """A connection that several threads may hold one after the other; transactions are ours to begin."""
    uri = f"{path.absolute().as_uri()}?mode={'ro' if readonly else 'rwc'}"
    connection = sqlite3.connect(
        uri, uri=True, timeout=2.0, isolation_level=None, check_same_thread=False, cached_statements=64
    )
    try:
        connection.execute("PRAGMA cache_size = -2048")
        connection.execute("PRAGMA mmap_size = 0")
        if not readonly:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA wal_autocheckpoint = 0")
            connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")
            connection.execute("PRAGMA secure_delete = FAST")  # else forgetting, in some builds, writes all of it again
    except BaseException:
        connection.close()
        raise
    return connection


def _migrate(connection: sqlite3.Connection, migrations: Sequence[Path], path: Path) -> None:
    """Brings the schema up to date, one transaction a step. Raises `StoreUnusable`; the step then changed
    nothing.
    """
    version = first(connection, "PRAGMA user_version")
    for number, migration in enumerate(migrations, start=1):
        if number <= version:
            continue
        sql = migration.read_text(encoding="utf-8")
        try:
            connection.executescript(f"BEGIN IMMEDIATE;\n{sql}\n;PRAGMA user_version = {number};\nCOMMIT;")
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _UNAVAILABLE:
                raise
            raise StoreUnusable(f"{path}: migration {migration.name} failed and changed nothing: {error}") from error
