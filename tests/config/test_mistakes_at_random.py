"""Whatever is written in place of whatever else: it loads, or it is refused with a place and in words."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from alertbot.config.load import ConfigErrors, Problem
from tests.config.conftest import Loads
from tests.config.contract import CONTRACT

JUNK: list[Any] = [
    *(None, "", "x", "7f3 ${UNSET}", "${UNSET}", "-1", "0", "1e999", "yes", "true", "5m", "::", "{", "a=b"),
    *("\n", "\u2028", "http://[", "x" * 5000, [], {}, [None], [[]], [{}], {"": ""}, {"x": None}, {"name": []}),
    *(["..."], ["a", "a"]),
]


def places(node: Any) -> Iterator[tuple[Any, Any]]:
    """Every container with every key of it."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield node, key
        yield from places(value)


@pytest.mark.parametrize("seed", range(150))
def test_a_mistake_anywhere_is_refused_in_words_or_harmless(loads: Loads, seed: int) -> None:
    chance = random.Random(seed)
    data = yaml.load(re.sub(r"\$\{\w+\}", "7f3", CONTRACT), Loader=yaml.BaseLoader)  # noqa: S506  # BaseLoader makes texts only
    data["global"]["slack_bot_token"] = "7f3-secret"
    del data["global"]["slack_bot_token_file"], data["global"]["slack_signing_secret_file"]
    for _ in range(chance.randrange(1, 4)):
        container, key = chance.choice(list(places(data)))
        if chance.random() < 0.2 and isinstance(container, dict):
            container[chance.choice(["naem", "route", "url_file", "x_configs"])] = container.pop(key)
        else:
            container[key] = chance.choice(JUNK)
    text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
    said, problems = outcome(loads, text)
    assert "7f3" not in said
    assert all(1 <= p.line <= len(text.splitlines()) + 1 and p.what.strip() for p in problems)
    for word in ("Input should", "Value error", "pydantic", "NoneType", "Traceback"):
        assert word not in said or not problems, said


def outcome(loads: Loads, text: str) -> tuple[str, list[Problem]]:
    try:
        return repr(loads(text)), []
    except ConfigErrors as error:
        return str(error), error.problems
