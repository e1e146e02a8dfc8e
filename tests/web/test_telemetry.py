"""Logs say what happened and no secret; metrics are named as documented; traces go on."""

from __future__ import annotations

import io
import json
import logging
import re
from datetime import timedelta
from typing import Any

import pytest

from alertbot.domain.reasons import Reason
from alertbot.telemetry import REDACTED, JsonFormatter, Metrics, RedactionFilter, configure_logging, trace_id


@pytest.fixture
def lines() -> tuple[logging.Logger, io.StringIO, RedactionFilter]:
    """A logger with our filter and formatter, and what it wrote."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    redaction = RedactionFilter(["xoxb-secret", 'quo"ted', "long-secret-inner", "secret-inner"])
    handler.addFilter(redaction)
    handler.setFormatter(JsonFormatter())
    logger = logging.Logger("alertbot.test")  # noqa: LOG001 - one that no other test can reach
    logger.addHandler(handler)
    return logger, stream, redaction


def written(stream: io.StringIO) -> dict[str, Any]:
    (line,) = stream.getvalue().splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


def test_a_log_line_is_one_json_object_with_its_fields(lines: Any) -> None:
    logger, stream, _ = lines
    logger.warning("held %d\nalerts", 3, extra={"incident": "i1", "trace_id": "t", "reason": Reason.INHIBITED, "n": 2})
    line = written(stream)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("ts"))
    assert line == {
        "level": "warning", "logger": "alertbot.test", "msg": "held 3\nalerts",
        "incident": "i1", "trace_id": "t", "reason": "inhibited", "n": 2,
    }  # fmt: skip


def test_an_extra_field_cannot_take_the_place_of_one_of_ours(lines: Any) -> None:
    logger, stream, _ = lines
    logger.info("m", extra={"level": "x", "ts": "y"})
    line = written(stream)
    assert (line["level"], line["level_"], line["ts_"]) == ("info", "x", "y")


SECRETS = [
    # The configured secrets, wherever they stand.
    ("token xoxb-secret was refused", (), {}),
    ("token %s was refused", ("xoxb-secret",), {}),
    ("refused", (), {"token": "xoxb-secret"}),
    ("refused", (), {"body": {"a": ["b", "xoxb-secret"]}}),
    ("refused", (), {"body": {"xoxb-secret": 1}}),
    ("refused", (), {"error": ValueError("xoxb-secret")}),
    ("with too few arguments %s %s", ("xoxb-secret",), {}),
    # As they look within JSON, too.
    ("body %s", (json.dumps('quo"ted'),), {}),
    # Credentials of a request, whether or not they are ours.
    ("Authorization: Bearer Zm9vYmFyOmJheg", (), {}),
    ("headers %r", ({"Authorization": "Basic Zm9vYmFyOmJheg=="},), {}),
    ("headers %r", ([("authorization", "Token Zm9vYmFyOmJheg")],), {}),
    ("sent Bearer Zm9vYmFyOmJheg", (), {}),
    ("cannot reach redis://bot:Zm9vYmFyOmJheg@store:6379/0", (), {}),
]


@pytest.mark.parametrize(("message", "args", "extra"), SECRETS)
def test_no_secret_is_logged(lines: Any, message: str, args: tuple[Any, ...], extra: dict[str, Any]) -> None:
    logger, stream, _ = lines
    logger.error(message, *args, extra=extra)
    text = stream.getvalue()
    for secret in ("xoxb-secret", 'quo\\"ted', "Zm9vYmFyOmJheg"):
        assert secret not in text
    assert REDACTED in text
    written(stream)


def test_no_secret_is_logged_in_a_traceback(lines: Any) -> None:
    logger, stream, _ = lines
    try:
        raise RuntimeError("xoxb-secret")
    except RuntimeError:
        logger.exception("failed")
    line = written(stream)
    assert "RuntimeError" in line["error"]
    assert "xoxb-secret" not in stream.getvalue()


def test_the_longer_of_two_secrets_goes_whole() -> None:
    assert RedactionFilter(["inner", "long-inner-end"]).redact("a long-inner-end b") == f"a {REDACTED} b"


def test_a_reload_brings_new_secrets(lines: Any) -> None:
    logger, stream, redaction = lines
    redaction.set_secrets(["brand-new", ""])
    logger.info("brand-new and xoxb-secret")
    assert written(stream)["msg"] == f"{REDACTED} and xoxb-secret"


def test_a_plain_text_stays_as_it_is() -> None:
    text = "an author of basic things: no bearer of news at https://example.org:8080/a@b"
    assert RedactionFilter(["s3cret"]).redact(text) == text


def test_every_library_logs_through_us() -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    try:
        redaction = configure_logging("INFO", stream)
        redaction.set_secrets(["s3cret"])
        logging.getLogger("some.library").info("connects with s3cret")
        logging.getLogger("aiohttp.access").info("GET /")
        assert written(stream)["msg"] == f"connects with {REDACTED}"
    finally:
        logging.captureWarnings(False)
        logging.getLogger("aiohttp.access").setLevel(logging.NOTSET)
        root.handlers, root.level = handlers, level


TRACES = [
    ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "4bf92f3577b34da6a3ce929d0e0e4736"),
    # A later version may say more after the flags.
    ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what", "4bf92f3577b34da6a3ce929d0e0e4736"),
    ("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", None),
    ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", None),
    ("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", None),
    ("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", None),
    ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\n", None),
    ("junk", None),
    ("", None),
    (None, None),
]


@pytest.mark.parametrize(("header", "found"), TRACES)
def test_a_trace_goes_on_or_begins(header: str | None, found: str | None) -> None:
    got = trace_id(header)
    assert re.fullmatch("[0-9a-f]{32}", got)
    assert got == found if found else got != trace_id(header)


def test_the_metrics_have_their_documented_names() -> None:
    metrics = Metrics("1.2.3")
    metrics.decided(Reason.DUPLICATE)
    metrics.delivered("slack", "sent", timedelta(seconds=2))
    metrics.delivered("slack", "retry", None)
    metrics.unacknowledged("high")
    get = metrics.registry.get_sample_value
    assert get("alertbot_decisions_total", {"reason": "duplicate"}) == 1
    assert get("alertbot_deliveries_total", {"integration": "slack", "outcome": "sent"}) == 1
    assert get("alertbot_delivery_latency_seconds_sum", {"integration": "slack"}) == 2
    assert get("alertbot_delivery_latency_seconds_count", {"integration": "slack"}) == 1
    assert get("alertbot_ack_overdue_total", {"severity": "high"}) == 1
    assert get("alertbot_build_info", {"version": "1.2.3"}) == 1
    names = {family.name for family in metrics.registry.collect() if family.name.startswith("alertbot")}
    assert names == {
        f"alertbot_{name}"
        for name in (
            "events_received", "alerts_received", "alerts_set_aside", "requests_refused", "decisions",
            "deliveries", "delivery_latency_seconds", "outbox_due", "parked", "events_undecided",
            "open_incidents", "store_up", "alertmanager_up", "config_last_reload_successful",
            "config_last_reload_success_timestamp_seconds", "build_info", "storms", "deliveries_folded",
            "destinations_broken", "ack_overdue", "slack_socket_up",
        )
    }  # fmt: skip


def test_two_bots_in_one_process_count_apart() -> None:
    one, other = Metrics("1"), Metrics("1")
    one.decided(Reason.TEST)
    assert other.registry.get_sample_value("alertbot_decisions_total", {"reason": "test"}) is None
