"""What every test may ask for: the recorded data, and the real servers of this machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from hypothesis import settings

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


def _require(name: str) -> Path:
    found = find_server(name)
    if found is None:
        line = f"{SERVERS[name]} is not installed (tests/install_servers)"
        if os.environ.get("CI") == "true":
            pytest.fail(line, pytrace=False)
        pytest.skip(line)
    return found
