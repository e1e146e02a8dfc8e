"""Where the files that are not Python live: templates, runbooks, the example configuration.

In a checkout (also one installed in editable mode) they stand beside the package, where people edit them;
a wheel carries them inside the package, under `_data` (`hatch_build.py` puts them there).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

_PACKAGE: Final = Path(__file__).resolve().parent
_SHIPPED: Final = _PACKAGE / "_data"


def data_dir(name: str) -> Path:
    """The directory `name` ("templates", "runbooks") that alertbot ships.

    Raises FileNotFoundError if the installation is without it: a packaging mistake, not the user's.
    """
    return _found(name, Path.is_dir)


def data_file(name: str) -> Path:
    """The file `name` ("alertbot.example.yml") that alertbot ships; raises as `data_dir` does."""
    return _found(name, Path.is_file)


def _found(name: str, is_wanted: Callable[[Path], bool]) -> Path:
    root = _SHIPPED if _SHIPPED.is_dir() else _PACKAGE.parent
    path = root / name
    if not is_wanted(path):
        raise FileNotFoundError(f"this installation of alertbot has no {name}: expected at {path}")
    return path
