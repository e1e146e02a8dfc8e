"""What every test may ask for: the recorded data, and the real servers of this machine."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import settings

from tests.standins.redis_servers import Cluster, RedisServer

# No deadline: a busy machine is not a finding.
settings.register_profile("alertbot", deadline=None, print_blob=True)
settings.load_profile("alertbot")

CORPUS: Final = Path(os.environ.get("ALERTBOT_CORPUS") or Path(__file__).resolve().parents[2] / "shared" / "corpus")

#: The word of a test for a server → what Debian calls the program. `tests/install_servers` installs them.
SERVERS: Final = {
    "alertmanager": "prometheus-alertmanager",
    "amtool": "amtool",
    "prometheus": "prometheus",
    "promtool": "promtool",
    "chromium": "chromium",
    "redis-server": "redis-server",
}


_numbers = itertools.count()


def find_server(name: str) -> Path | None:
    """The program of a server in `SERVERS`, or None if this machine has none."""
    found = shutil.which(SERVERS[name])
    return Path(found) if found else None


def pytest_report_header() -> list[str]:
    servers = ", ".join(f"{name}: {find_server(name) or 'absent'}" for name in SERVERS)
    return [f"corpus: {CORPUS if CORPUS.is_dir() else 'absent'}", f"real servers: {servers}"]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """`@pytest.mark.real("amtool")`: skipped without amtool; with CI=true, failed."""
    for marker in item.iter_markers("real"):
        for name in marker.args:
            _require(name)


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of recorded and published data (ALERTBOT_CORPUS, else beside the checkout)."""
    if not CORPUS.is_dir():
        pytest.skip("the corpus of recorded data is not on this machine (ALERTBOT_CORPUS names it)")
    return CORPUS


@pytest.fixture(scope="session")
def real_server() -> Callable[[str], Path]:
    """Gives the program of a real server by its name in `SERVERS`; without it, as the marker `real` does."""
    return _require


@pytest.fixture(scope="session")
def redis_server(real_server: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A real server, for all tests of this process."""
    server = RedisServer(real_server("redis-server"), tmp_path_factory.mktemp("redis"), save='""')
    yield server.start()
    server.stop()


@pytest.fixture(scope="session")
def redis_cluster(real_server: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three real servers that share the slots."""
    cluster = Cluster(real_server("redis-server"), tmp_path_factory.mktemp("cluster"))
    yield cluster.start()
    cluster.stop()


@pytest.fixture
def redis_cluster_url(redis_cluster: Cluster) -> Callable[[], str]:
    """Makes the URL of a new, empty store there."""
    return lambda: f"{redis_cluster.url}?prefix=t{os.getpid()}-{next(_numbers)}"


@pytest.fixture
def redis_url(redis_server: RedisServer) -> Callable[[], str]:
    """Makes the URL of a new, empty store there."""
    return lambda: f"{redis_server.url}?prefix=t{os.getpid()}-{next(_numbers)}"


@pytest.fixture(params=["sqlite", "redis"])
def new_store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Makes the URL of a new, empty store, of each kind that outlives a process."""
    if request.param == "redis":
        made: Callable[[], str] = request.getfixturevalue("redis_url")
        return made
    return lambda: f"sqlite:///{tmp_path / f'{next(_numbers)}.db'}"


def _require(name: str) -> Path:
    found = find_server(name)
    if found is None:
        line = f"{SERVERS[name]} is not installed (tests/install_servers)"
        if os.environ.get("CI") == "true":
            pytest.fail(line, pytrace=False)
        pytest.skip(line)
    return found
