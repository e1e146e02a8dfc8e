"""Mistakes that people make, a file each.

`# ERROR: what` on a line is all that is to be said of that line; one that ends in `…` leaves the rest to the
part of the domain that read the value.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from alertbot.config.load import ConfigErrors, load

BAD = sorted((Path(__file__).parent / "bad").glob("*.yml"))


@pytest.mark.parametrize("file", BAD, ids=lambda f: f.stem)
def test_each_mistake_is_named_on_its_line_and_nothing_else_is(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    expected = [
        (n, found[1])
        for n, line in enumerate(file.read_text().splitlines(), 1)
        if (found := re.search(r"# ERROR: (.*)", line))
    ]
    with pytest.raises(ConfigErrors) as refused:
        load(file.name, {})
    said = [(p.line, p.what) for p in refused.value.problems]
    assert len(said) == len(expected), said
    for (line, what), (expected_line, expected_what) in zip(said, expected, strict=True):
        assert line == expected_line, what
        begin, more, _ = expected_what.partition("…")
        assert what.startswith(begin) if more else what == expected_what


@pytest.mark.parametrize("file", BAD, ids=lambda f: f.stem)
def test_no_message_about_a_mistake_repeats_a_secret(file: Path) -> None:
    with pytest.raises(ConfigErrors) as refused:
        load(file, {})
    assert "7f3" not in str(refused.value) + repr(refused.value)
    assert refused.value.__cause__ is None
    assert "7f3" not in repr(refused.value.__context__ if not refused.value.__suppress_context__ else "")


def test_a_file_that_is_not_there_is_one_problem() -> None:
    with pytest.raises(ConfigErrors) as refused:
        load("not/there.yml", {})
    assert str(refused.value) == "not/there.yml:1: cannot be read: No such file or directory"


def test_a_file_that_is_not_text_is_one_problem(tmp_path: Path) -> None:
    file = tmp_path / "alertbot.yml"
    file.write_bytes(b"route:\n  receiver: \xff\n")
    with pytest.raises(ConfigErrors) as refused:
        load(file, {})
    assert str(refused.value) == f"{file}:2: this is not UTF-8 text"
