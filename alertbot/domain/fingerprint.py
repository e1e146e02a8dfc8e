"""An alert's identity, as Alertmanager computes it (prometheus/common model.LabelSet.Fingerprint)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_OFFSET: Final = 0xCBF29CE484222325
_PRIME: Final = 0x100000001B3
_MASK: Final = 0xFFFFFFFFFFFFFFFF


def fingerprint(labels: Mapping[str, str]) -> str:
    """16 hex digits: FNV-1a of 64 bits over each name and value in the order of the names, each ended by 0xff."""
    h = _OFFSET
    for name in sorted(labels):
        for byte in b"%b\xff%b\xff" % (_bytes(name), _bytes(labels[name])):
            h = ((h ^ byte) * _PRIME) & _MASK
    return f"{h:016x}"


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
