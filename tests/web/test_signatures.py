"""Signatures, against the examples that their senders publish."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from alertbot.web import signatures

SECRET = "It's a Secret to Everybody"
BODY = b"Hello, World!"
GENUINE = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"


def _verify(vector: dict[str, Any]) -> bool:
    headers = {name.lower(): value for name, value in vector["headers"].items()}
    secret, body = vector["secret"], vector.get("body", "").encode()
    match vector["provider"]:
        case "slack":
            timestamp, signature = headers.get("x-slack-request-timestamp"), headers.get("x-slack-signature")
            return signatures.slack(secret, body, timestamp, signature, vector["now"])
        case "pagerduty":
            return signatures.pagerduty(secret, body, headers.get("x-pagerduty-signature"))
        case "github":
            return signatures.github(secret, body, headers.get("x-hub-signature-256"))
        case "vercel":
            return signatures.vercel(secret, body, headers.get("x-vercel-signature"))
        case "twilio":
            return signatures.twilio(secret, vector["url"], vector["params"], headers.get("x-twilio-signature"))
    raise AssertionError(f"no rule for {vector['provider']}")


def test_every_published_example_comes_out_as_its_publisher_says(corpus: Path) -> None:
    vectors = json.loads((corpus / "signature_vectors.json").read_text())
    assert {v["provider"] for v in vectors} == {"slack", "pagerduty", "github", "vercel", "twilio"}
    for vector in vectors:
        answer = _verify(vector)
        # None: either answer will do.
        assert vector["valid"] in (answer, None), (vector["provider"], vector.get("why"), vector["headers"])


def test_what_is_signed_is_the_whole_body(corpus: Path) -> None:
    for vector in json.loads((corpus / "signature_vectors.json").read_text()):
        if vector["valid"] and "body" in vector:
            assert not _verify({**vector, "body": vector["body"] + " "})
            assert not _verify({**vector, "secret": vector["secret"] + "x"})


@pytest.mark.parametrize(
    "given",
    [None, "", "sha256=", GENUINE.upper(), GENUINE[:-1], GENUINE + "0", " " + GENUINE, "ü", "\udcff", "sha256=\udcff"],
)
def test_whatever_else_is_given_is_not_genuine_and_does_not_raise(given: str | None) -> None:
    assert not signatures.github(SECRET, BODY, given)
    assert not signatures.vercel(SECRET, BODY, given)
    assert not signatures.sentry(SECRET, BODY, given)
    assert not signatures.pagerduty(SECRET, BODY, given)
    assert not signatures.slack(SECRET, BODY, "1531420618", given, 1531420618)
    assert not signatures.twilio(SECRET, "https://example.org/", {}, given)
    assert not signatures.token(SECRET, given)


def test_without_a_secret_nothing_is_genuine() -> None:
    # Each is the right signature for the empty secret: anybody can make it.
    empty = signatures._hex("", BODY, "sha256")
    assert not signatures.github("", BODY, f"sha256={empty}")
    assert not signatures.pagerduty("", BODY, f"v1={empty}")
    assert not signatures.vercel("", BODY, signatures._hex("", BODY, "sha1"))
    assert not signatures.slack("", b"", "1", f"v0={signatures._hex('', b'v0:1:', 'sha256')}", 1)
    assert not signatures.token("", "")


@pytest.mark.parametrize(
    ("timestamp", "genuine"),
    [
        # 300 seconds either way are allowed.
        ("1000", True),
        ("700", True),
        ("1300", True),
        ("699", False),
        ("1301", False),
        # Numbers as Python reads them, and as Slack does not write them.
        ("1_000", False),
        (" 1000", False),
        ("+1000", False),
        ("1000.0", False),
        ("\u0661\u0660\u0660\u0660", False),
        ("nan", False),
        ("", False),
        (None, False),
        ("9" * 5000, False),
    ],
)
def test_slacks_timestamp(timestamp: str | None, genuine: bool) -> None:
    signature = "v0=" + signatures._hex(SECRET, f"v0:{timestamp}:".encode() + BODY, "sha256")
    assert signatures.slack(SECRET, BODY, timestamp, signature, 1000.0) is genuine


def test_a_token_is_compared_whole() -> None:
    assert signatures.token("s3cr3t", "s3cr3t")
    assert not signatures.token("s3cr3t", "s3cr3")
