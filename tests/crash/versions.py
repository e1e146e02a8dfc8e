"""The next version of alertbot, made from this one: what a rolling upgrade meets."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import Final

import alertbot
from alertbot.store.redis_schema import SCHEMA

VERSION: Final = "9.9.9"
#: A reason of the next version, in the place of one of this one's.
REASON: Final = "first_notification_of_its_kind"
NUMBER: Final = SCHEMA.number + 1
#: How the title of an incident begins in the layout of that number.
TITLE: Final = '"title":"New: '


def next_version(folder: Path, *, schema: bool = False) -> tuple[str, ...]:
    """The command that serves it. Its incidents have one more field, and it has another reason; with `schema` what
    stands in Redis has a number of its own, and what was there before is brought to it.
    """
    package = Path(alertbot.__file__).parent
    shutil.copytree(package, folder / "alertbot", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("templates", "runbooks"):
        (folder / name).symlink_to(package.parent / name)
    _change(folder / "alertbot/__init__.py", r'__version__ = ".*"', f'__version__ = "{VERSION}"')
    _change(
        folder / "alertbot/domain/model.py",
        r"(    quieted: bool = False\n)",
        r'\1    seen_by: tuple[str, ...] = ("the next version",)\n',
    )
    _change(folder / "alertbot/domain/reasons.py", '"first_notification"', f'"{REASON}"')
    if schema:
        _change(
            folder / "alertbot/store/redis_schema.py",
            r"SCHEMA: Final = Schema\(.*\)\n",
            f'SCHEMA: Final = Schema({NUMBER}, {{{NUMBER}: {{"incidents": lambda name, doc: [("HSET", "incidents",'
            f" name, doc if b'{TITLE}' in doc else doc.replace(b'\"title\":\"', b'{TITLE}', 1))]}}}})\n",
        )
    return ("env", f"PYTHONPATH={folder}", sys.executable, "-P", "-m", "alertbot", "serve")


def _change(path: Path, old: str, new: str) -> None:
    text, count = re.subn(old, new, path.read_text())
    assert count == 1, f"{old} is {count} times in {path.name}"
    path.write_text(text)
