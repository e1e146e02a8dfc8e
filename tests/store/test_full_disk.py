"""SQLite on a file system that is really full."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.store.full_disk import SCENES

#: A file system of 24 MB that only the command sees, and that goes with it.
SMALL: list[str] = [
    "unshare", "--map-root-user", "--mount", "sh", "-c", 'mount -t tmpfs -o size=24m tmpfs "$0" && exec "$@"',
]  # fmt: skip


@pytest.fixture
def small_disk(tmp_path: Path) -> list[str]:
    if not shutil.which("unshare") or subprocess.run([*SMALL, str(tmp_path), "true"], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    return [*SMALL, str(tmp_path)]


@pytest.mark.parametrize("scene", SCENES)
def test_a_full_disk_is_survived_and_the_store_comes_back_by_itself(
    scene: str, small_disk: list[str], tmp_path: Path
) -> None:
    command = [*small_disk, sys.executable, "-m", "tests.store.full_disk", scene, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
