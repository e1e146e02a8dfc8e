"""Puts what is not Python into the wheel, at the place where `alertbot/paths.py` looks for it.

An editable install gets none of it: it reads the files of the checkout, and a copy would only go stale.
"""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SHIPPED = ("templates", "alertbot.example.yml")
SHIPPED_IF_ANY = ("runbooks",)


class ShipData(BuildHookInterface[Any]):
    """hatchling's hook; it is found by its base class."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the files to a wheel; hatchling fails on one that is missing.

        `version` is hatchling's word for the kind of wheel.
        """
        if version == "editable":
            return
        root = Path(self.root)
        for name in (*SHIPPED, *(name for name in SHIPPED_IF_ANY if (root / name).exists())):
            build_data["force_include"][str(root / name)] = f"alertbot/_data/{name}"
