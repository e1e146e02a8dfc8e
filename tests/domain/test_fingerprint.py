"""The fingerprint against a plain reading of FNV-1a, whatever the labels hold."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from alertbot.domain.fingerprint import fingerprint

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def _fnv1a(data: bytes) -> int:
    """http://www.isthe.com/chongo/tech/comp/fnv: exclusive or, then times the prime, modulo 2^64."""
    value = 14695981039346656037
    for byte in data:
        value = (value ^ byte) * 1099511628211 % 2**64
    return value


@given(st.dictionaries(texts, texts, max_size=8))
def test_it_is_fnv_1a_over_sorted_names_and_values_each_ended_by_0xff(labels: dict[str, str]) -> None:
    data = b"".join(n.encode() + b"\xff" + labels[n].encode() + b"\xff" for n in sorted(labels))
    assert fingerprint(labels) == format(_fnv1a(data), "016x")


@given(st.dictionaries(texts, texts, max_size=8))
def test_the_order_in_which_labels_come_is_of_no_account(labels: dict[str, str]) -> None:
    assert fingerprint(dict(reversed(labels.items()))) == fingerprint(labels)


def test_no_labels_are_the_offset_basis() -> None:
    assert fingerprint({}) == "cbf29ce484222325"


def test_leading_zeros_stay() -> None:
    assert fingerprint({"host": "110866.example"}) == "021de8750ce923b7"


def test_a_lone_surrogate_has_a_fingerprint_too() -> None:
    assert fingerprint({"foo": "\ud800"}) != fingerprint({"foo": ""})
