"""What is SQLite's own: the file, who may have it, and what happens when it is damaged, full or cut off."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from alertbot.domain.budgets import Budget
from alertbot.store import open_store
from alertbot.store.base import Changes, Keys, StoreError, StoreUnavailable, StoreUnusable
from alertbot.store.sqlite import SqliteStore
from alertbot.store.sqlite_file import APPLICATION_ID, SCHEMA, DatabaseFile
from tests.store.builders import T0, alert, at, entry, incident, parked, raw, want


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "alertbot.db"


@pytest.fixture
async def store(file: Path) -> AsyncIterator[SqliteStore]:
    made = SqliteStore(file)
    await made.open()
    yield made
    await made.close()


async def opened(file: Path, **options: Any) -> SqliteStore:
    made = SqliteStore(file, **options)
    await made.open()
    return made


async def filled(file: Path, events: int = 200) -> None:
    """A file of some size, closed cleanly."""
    store = await opened(file)
    await store.append([raw(b"%06d" % n * 500) for n in range(events)])
    await store.commit(Changes(alerts=[alert(f"a{n}") for n in range(events)], incidents=[incident()]))
    await store.close()


async def open_and_read(file: Path) -> None:
    store = await opened(file)
    try:
        await store.undecided(1000)
    finally:
        await store.close()


# The URL.


@pytest.mark.parametrize(
    "url",
    ["", "alertbot.db", "sqlite:", "sqlite://host/x", "sqlite:///", "sqlite:///:memory:", "mysql://x/y"],
)
def test_a_url_that_names_no_store_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"store\.url"):
        open_store(url)


async def test_a_path_may_hold_what_means_something_in_a_url(tmp_path: Path) -> None:
    odd = tmp_path / "a b?mode=memory#x%41ä.db"
    store = SqliteStore(odd)
    await store.open()
    await store.append([raw()])
    await store.close()
    assert odd.exists()


# Opening.


async def test_a_new_file_is_made_and_carries_our_mark(file: Path) -> None:
    await (await opened(file)).close()
    assert sorted(p.name for p in file.parent.iterdir()) == ["alertbot.db", "alertbot.db.lock"]
    with closing(sqlite3.connect(file)) as c:
        assert c.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        assert c.execute("PRAGMA user_version").fetchone() == (len(list(SCHEMA.glob("*.sql"))),)


async def test_a_start_that_was_killed_while_it_made_the_file_is_begun_anew(file: Path) -> None:
    Path(f"{file}.new").write_bytes(b"half a database")
    Path(f"{file}.new-wal").write_bytes(b"half a log")
    store = await opened(file)
    await store.append([raw()])
    await store.close()
    assert not Path(f"{file}.new").exists()


async def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreUnusable, match=r"nowhere: no such directory; create it"):
        await opened(tmp_path / "nowhere" / "alertbot.db")


def _text(file: Path) -> None:
    file.write_text("a shopping list, long enough to be no header at all\n" * 100)


def _empty(file: Path) -> None:
    file.touch()


def _directory(file: Path) -> None:
    file.mkdir()


def _other_program(file: Path) -> None:
    with closing(sqlite3.connect(file)) as c:
        c.execute("PRAGMA application_id = 12345")
        c.execute("CREATE TABLE events (seq INTEGER PRIMARY KEY)")


def _no_program(file: Path) -> None:
    with closing(sqlite3.connect(file)) as c:
        c.execute("CREATE TABLE bookmarks (url TEXT)")


def _newer(file: Path) -> None:
    with closing(sqlite3.connect(file)) as c:
        c.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        c.execute("PRAGMA user_version = 999")
        c.execute("CREATE TABLE events (seq INTEGER PRIMARY KEY)")


def _wal_alone(file: Path) -> None:
    Path(f"{file}-wal").write_bytes(b"x" * 5000)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (_text, "is damaged"),
        (_empty, "is empty"),
        (_directory, "is a directory"),
        (_other_program, "database of another program"),
        (_no_program, "database of another program"),
        (_newer, "written by a newer alertbot"),
        (_wal_alone, "is gone but alertbot.db-wal holds data"),
    ],
)
async def test_a_file_that_is_not_ours_is_refused_and_left_as_it_is(
    file: Path, make: Callable[[Path], None], says: str
) -> None:
    make(file)
    before = {p.name: p.read_bytes() for p in file.parent.iterdir() if p.is_file()}
    for _ in range(2):  # a refused file is not locked either
        with pytest.raises(StoreUnusable, match=says) as refused:
            await opened(file)
        assert str(file) in str(refused.value)
    after = {p.name: p.read_bytes() for p in file.parent.iterdir() if p.is_file() and p.suffix != ".lock"}
    assert after == before


# Damage.


async def test_a_file_whose_end_is_missing_is_refused(file: Path) -> None:
    await filled(file)
    os.truncate(file, file.stat().st_size // 2)
    with pytest.raises(StoreUnusable, match="is damaged"):
        await opened(file)


async def test_a_damaged_header_is_refused(file: Path) -> None:
    await filled(file)
    with file.open("r+b") as f:
        f.write(b"\0" * 100)
    with pytest.raises(StoreUnusable, match="is damaged"):
        await opened(file)


async def test_damage_in_the_middle_is_said_with_the_files_name_when_it_is_met(file: Path) -> None:
    await filled(file)
    with file.open("r+b") as f:
        for page in range(3, file.stat().st_size // 4096 - 1):
            f.seek(page * 4096)
            f.write(b"\xa5" * 4096)
    with pytest.raises(StoreUnusable, match=r"alertbot\.db is damaged .*backup"):
        await open_and_read(file)


async def test_after_an_unclean_end_a_small_file_is_checked_whole(file: Path) -> None:
    await filled(file)
    child = subprocess.run([sys.executable, "-c", _APPEND_AND_DIE, str(file)], capture_output=True, text=True)
    assert child.returncode == -signal.SIGKILL, child.stderr
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as c:
        root = c.execute("SELECT rootpage FROM sqlite_master WHERE name = 'alerts_current'").fetchone()[0]
    with file.open("r+b") as f:  # an index that nobody reads at the start, and that the log has no newer copy of
        f.seek((root - 1) * 4096 + 100)
        f.write(b"\xa5" * 2000)
    with pytest.raises(StoreUnusable, match="is damaged"):
        await opened(file)


async def test_a_record_that_cannot_be_read_is_no_crash(store: SqliteStore, file: Path) -> None:
    await store.commit(Changes(alerts=[alert("a")]))
    with closing(sqlite3.connect(file)) as c:
        c.execute('UPDATE alerts SET doc = \'{"status": "unheard of"}\'')
        c.commit()
    with pytest.raises(StoreUnusable, match="holds a record that this alertbot cannot read"):
        await store.members("i1")
    assert list(await store.append([raw()])) == [1]


# Who may have it.


async def test_a_second_bot_on_the_same_file_is_refused_with_the_first_ones_process(
    store: SqliteStore, file: Path
) -> None:
    child = subprocess.run([sys.executable, "-c", _OPEN, str(file)], capture_output=True, text=True)
    assert child.returncode == 1
    assert f"is in use by another alertbot (process {os.getpid()})" in child.stdout
    await store.close()
    child = subprocess.run([sys.executable, "-c", _OPEN, str(file)], capture_output=True, text=True)
    assert child.stdout.strip() == "opened"


async def test_a_killed_bot_leaves_no_lock(file: Path) -> None:
    child = subprocess.run([sys.executable, "-c", _APPEND_AND_DIE, str(file)], capture_output=True, text=True)
    assert child.returncode == -signal.SIGKILL, child.stderr
    await (await opened(file)).close()


async def test_a_reader_looks_in_beside_a_running_bot_and_writes_nothing(store: SqliteStore, file: Path) -> None:
    await store.append([raw(b"1")])
    reader = await opened(file, readonly=True)
    assert [e.event.body for e in await reader.events(at(-1), 0, 10)] == [b"1"]
    await store.append([raw(b"2")])
    assert len(await reader.events(at(-1), 0, 10)) == 2
    with pytest.raises(StoreUnavailable, match="for reading only"):
        await reader.append([raw()])
    await reader.close()
    assert len(await store.append([raw(b"3")])) == 1


async def test_a_reader_needs_a_file_of_the_present_version(file: Path) -> None:
    with pytest.raises(StoreUnusable, match="no such file"):
        await opened(file, readonly=True)
    await filled(file, 1)
    with closing(sqlite3.connect(file)) as c:
        c.execute("PRAGMA user_version = 0")
    with pytest.raises(StoreUnusable, match="older alertbot"):
        await opened(file, readonly=True)


async def test_a_closed_store_says_so(file: Path) -> None:
    store = await opened(file)
    await store.close()
    with pytest.raises(StoreUnavailable):
        await store.append([raw()])
    with pytest.raises(StoreUnavailable):
        await store.load(Keys(identities=frozenset({"a"})))
    with pytest.raises(StoreUnavailable):
        await SqliteStore(file).next_wake()


# Full, locked, and wrong.


async def limit_pages(store: SqliteStore, spare: int | None) -> None:
    """The disk is full but for so many pages; with None there is room again. SQLite's own limit, its own
    error.
    """

    def run(c: sqlite3.Connection) -> None:
        pages = c.execute("PRAGMA page_count").fetchone()[0]
        c.execute(f"PRAGMA max_page_count = {pages + spare if spare is not None else 1_000_000}").fetchone()

    await store._write(run)


async def test_a_full_disk_refuses_what_does_not_fit_and_works_again_with_room(store: SqliteStore) -> None:
    (kept,) = await store.append([raw(b"before")])
    await limit_pages(store, 3)
    big = raw(b"x" * 1_000_000)
    with pytest.raises(StoreUnavailable, match="no space left"):
        await store.append([big])
    with pytest.raises(StoreUnavailable, match="no space left"):
        await store.commit(Changes(done=[kept], alerts=[alert("a")], parked=[parked(body=b"x" * 1_000_000)]))
    # Nothing is half done.
    assert [e.event.body for e in await store.undecided(10)] == [b"before"]
    assert list(await store.members("i1")) == []
    assert list(await store.parked()) == []
    await limit_pages(store, None)
    (seq,) = await store.append([big])
    assert seq == kept + 1
    await store.commit(Changes(done=[kept], alerts=[alert("a")]))
    assert [e.seq for e in await store.undecided(10)] == [seq]


async def test_a_call_that_does_not_fit_fails_alone_among_those_it_shared_a_commit_with(
    store: SqliteStore,
) -> None:
    await limit_pages(store, 20)
    small = [store.append([raw(b"small")]) for _ in range(10)]
    answers = await asyncio.gather(
        *small[:5], store.append([raw(b"x" * 1_000_000)]), *small[5:], return_exceptions=True
    )
    assert [type(a) for a in answers] == [range] * 5 + [StoreUnavailable] + [range] * 5
    assert len(await store.undecided(100)) == 10


async def test_what_cannot_be_written_at_all_is_that_calls_error_and_the_writer_lives(
    store: SqliteStore,
) -> None:
    no_text = raw(trace_id="\ud800")
    answers = await asyncio.gather(store.append([no_text]), store.append([raw(b"good")]), return_exceptions=True)
    assert isinstance(answers[0], UnicodeEncodeError)
    assert list(answers[1]) == [1]  # type: ignore[arg-type]
    with pytest.raises(UnicodeEncodeError):
        await store.commit(Changes(alerts=[alert("a", labels={"x": "\ud800"})]))

    def wrong(c: sqlite3.Connection) -> None:
        c.execute("INSERT INTO meta VALUES ('half', 'done')")
        c.execute("NO SUCH SQL")

    with pytest.raises(StoreError, match="syntax error"):
        await store._write(wrong)
    assert await store.get_meta("half") is None
    assert len(await store.undecided(10)) == 1


async def test_a_lock_of_another_program_is_unavailable_and_passes(store: SqliteStore, file: Path) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        answers = await asyncio.gather(*(store.append([raw()]) for _ in range(3)), return_exceptions=True)
        assert {type(a) for a in answers} == {StoreUnavailable}
        assert "locked by another program" in str(answers[0])
        assert list(await store.undecided(10)) == []  # reading goes on meanwhile
        other.execute("ROLLBACK")
    assert list(await store.append([raw()])) == [1]


async def test_a_caller_that_goes_away_harms_nobody(store: SqliteStore) -> None:
    tasks = [asyncio.create_task(store.append([raw(b"%d" % n)])) for n in range(20)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(a, range | asyncio.CancelledError) for a in answers)
    assert len(await store.append([raw()])) == 1


# Durability and its price.

_OPEN = """
import asyncio, sys
from alertbot.store.base import StoreUnusable
from alertbot.store.sqlite import SqliteStore

async def main():
    store = SqliteStore(sys.argv[1])
    try:
        await store.open()
    except StoreUnusable as e:
        print(e)
        raise SystemExit(1)
    print("opened")
    await store.close()

asyncio.run(main())
"""

_APPEND_AND_DIE = """
import asyncio, os, signal, sys
from datetime import UTC, datetime
from alertbot.domain.events import RawEvent
from alertbot.store.sqlite import SqliteStore

async def main():
    store = SqliteStore(sys.argv[1])
    await store.open()
    await store.append([RawEvent(datetime(2026, 1, 5, tzinfo=UTC), "alertmanager", b"accepted")])
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""

_APPEND_UNTIL_KILLED = """
import asyncio, sys
from datetime import UTC, datetime
from alertbot.domain.events import RawEvent
from alertbot.store.sqlite import SqliteStore

async def main():
    store = SqliteStore(sys.argv[1])
    await store.open()

    async def sender(n):
        for k in range(1_000_000):
            body = b"%d-%d" % (n, k)
            await store.append([RawEvent(datetime(2026, 1, 5, tzinfo=UTC), "alertmanager", body)])
            sys.stdout.buffer.write(body + b"\\n")
            sys.stdout.flush()

    await asyncio.gather(*(sender(n) for n in range(8)))

asyncio.run(main())
"""


async def test_an_answered_append_survives_sigkill(file: Path) -> None:
    child = subprocess.run([sys.executable, "-c", _APPEND_AND_DIE, str(file)], capture_output=True, text=True)
    assert child.returncode == -signal.SIGKILL, child.stderr
    store = await opened(file)
    assert [e.event.body for e in await store.undecided(10)] == [b"accepted"]
    await store.close()


async def test_whatever_was_answered_before_a_kill_at_any_time_is_there(file: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", _APPEND_UNTIL_KILLED, str(file)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        answered = [child.stdout.readline() for _ in range(300)]
        child.send_signal(signal.SIGKILL)
        answered += child.stdout.readlines()
    store = await opened(file)
    found = [e.event.body for e in await store.undecided(1_000_000)]
    await store.close()
    assert len(set(found)) == len(found)
    # The last line may be cut off in the middle: it was not read to its end.
    assert {line.strip() for line in answered if line.endswith(b"\n")} <= set(found)


async def test_concurrent_appends_share_commits(store: SqliteStore) -> None:
    before, calls = store.commits, store.calls
    await asyncio.gather(*(store.append([raw(b"%d" % n)]) for n in range(100)))
    assert store.calls - calls == 100
    # The first goes alone; while it is on its way to the disk the others gather.
    assert store.commits - before <= 10


async def test_one_decision_is_one_commit(store: SqliteStore) -> None:
    (seq,) = await store.append([raw()])
    before = store.commits
    await store.commit(Changes([seq], [alert("a")], [incident()], [want()], [entry()], [parked()]))
    assert store.commits - before == 1


async def test_the_log_is_copied_to_the_file_in_the_background(store: SqliteStore, file: Path) -> None:
    small = file.stat().st_size
    for _ in range(40):
        await store.append([raw(b"x" * 1_000_000)])
    for _ in range(200):  # the copying thread is given its time: up to 10 s, and usually none
        if file.stat().st_size > small + 5_000_000:
            break
        await asyncio.sleep(0.05)
    assert file.stat().st_size > small + 5_000_000


async def test_closing_finishes_what_was_begun_and_leaves_one_file(file: Path) -> None:
    store = await opened(file)
    appends = [asyncio.create_task(store.append([raw(b"%d" % n)])) for n in range(50)]
    await asyncio.sleep(0)
    await store.close()
    await asyncio.gather(*appends)
    assert sorted(p.name for p in file.parent.iterdir()) == ["alertbot.db", "alertbot.db.lock"]
    assert not [t.name for t in threading.enumerate() if t.name.startswith("alertbot-store")]
    store = await opened(file)
    assert len(await store.undecided(100)) == 50
    await store.close()


# Migrations.


async def test_a_file_of_the_first_version_is_brought_up_to_date_with_all_it_holds(file: Path, tmp_path: Path) -> None:
    first = tmp_path / "first"
    first.mkdir()
    shutil.copy(min(SCHEMA.glob("*.sql")), first)
    newer = tmp_path / "newer.db"
    store = await opened(newer)
    await store.append([raw(b"old")])
    await store.commit(Changes(alerts=[alert("a")], incidents=[incident()], wants=[want()], entries=[entry()]))
    await store.close()
    older = DatabaseFile(file, readonly=False, schema=first)
    older.open().close()
    older.unlock()
    with closing(sqlite3.connect(file)) as c:  # the same rows, in the columns that the first version had
        c.execute("ATTACH ? AS newer", (str(newer),))
        c.execute("DELETE FROM meta")
        for (table,) in c.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'").fetchall():
            columns = ", ".join(row[1] for row in c.execute(f"PRAGMA main.table_info({table})"))
            if table not in ("undecided", "sqlite_sequence"):  # its trigger fills it
                c.execute(f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM newer.{table}")
        c.commit()
    store = await opened(file)
    assert [e.event.body for e in await store.undecided(10)] == [b"old"]
    loaded = await store.load(Keys(identities=frozenset({"a"}), members=frozenset({"i1"})))
    assert (list(loaded.alerts), list(loaded.incidents)) == ([alert("a")], [incident()])
    assert len(await store.claim("slack:#ops", T0, "w", at(60) - at(0), 10)) == 1
    assert list((await store.entries(incident="i1")).entries) == [entry()]
    await store.close()


async def test_a_migration_runs_once_and_one_that_fails_changes_nothing(file: Path, tmp_path: Path) -> None:
    await filled(file, 3)
    version = len(list(SCHEMA.glob("*.sql")))
    later = tmp_path / "later"
    shutil.copytree(SCHEMA, later)
    step = later / f"{version + 1:03}_more.sql"
    step.write_text("CREATE TABLE more (x TEXT);\nINSERT INTO more VALUES ('a;b');\nINSERT INTO nowhere VALUES (1);\n")
    with pytest.raises(StoreUnusable, match=rf"{step.name} failed and changed nothing: no such table: nowhere"):
        await opened(file, schema=later)
    with closing(sqlite3.connect(file)) as c:
        assert c.execute("PRAGMA user_version").fetchone() == (version,)
        assert c.execute("SELECT count(*) FROM sqlite_master WHERE name = 'more'").fetchone() == (0,)
    step.write_text("CREATE TABLE more (x TEXT);\nINSERT INTO more VALUES ('a;b');\n")
    for _ in range(2):
        store = await opened(file, schema=later)
        assert len(await store.undecided(10)) == 3
        await store.close()
    with closing(sqlite3.connect(file)) as c:
        assert c.execute("SELECT x FROM more").fetchall() == [("a;b",)]
    # And now the older alertbot refuses it.
    with pytest.raises(StoreUnusable, match="newer alertbot"):
        await opened(file)


async def test_what_a_dead_process_had_in_hand_is_due_at_once_at_the_next_start(file: Path) -> None:
    """Its lease has two minutes left, and a page must not wait for them: the file's lock says that it is dead."""
    store = await opened(file)
    await store.commit(Changes(wants=[want()]))
    [taken] = await store.claim(want().lane, at(1), "dead", timedelta(minutes=2), 1)
    assert not taken.uncertain
    assert await store.claim(want().lane, at(2), "other", timedelta(minutes=2), 1) == []
    await store.close()
    store = await opened(file)
    [again] = await store.claim(want().lane, at(2), "next", timedelta(minutes=2), 1)
    assert again.uncertain
    await store.close()


# Budgets.


async def test_what_was_spent_is_remembered_over_a_restart(file: Path) -> None:
    budget = Budget("k", 2, timedelta(minutes=1))
    store = await opened(file)
    assert await store.spend([budget], T0) is None
    await store.close_budget("other", at(30))
    await store.close()
    store = await opened(file)
    assert await store.calls_left(budget, at(1)) == 1
    assert await store.spend([Budget("other", 5, timedelta(minutes=1))], at(1)) == at(30)
    await store.close()
