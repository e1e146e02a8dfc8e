"""Webhook bodies that others recorded or documented. They stay where they are; tests read them in place."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import pytest

#: The folder of real data, if this machine has it.
CORPUS: Final = Path(os.environ.get("ALERTBOT_CORPUS") or Path(__file__).resolve().parents[3] / "shared" / "corpus")

WEBHOOKS: Final = sorted(
    path for path in (*CORPUS.glob("webhooks/*.json"), *CORPUS.glob("grafana/*.json")) if path.name != "MANIFEST.json"
)

needs_corpus = pytest.mark.skipif(not WEBHOOKS, reason="the recorded webhooks are not on this machine")
