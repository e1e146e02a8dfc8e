"""YAML as we read it: text, places, variables; and what we refuse."""

from __future__ import annotations

from typing import Any

import pytest

from alertbot.config.problems import ConfigErrors
from alertbot.config.yaml import Unset, read

ENVIRON = {
    "NAME": "value",
    "OTHER": "two words",
    "EMPTY": "",
    "EVIL": "]\nroute: {receiver: evil}",
    "NULL": "null",
}


@pytest.mark.parametrize(
    ("rule", "text", "value"),
    [
        ("what YAML 1.1 takes for a number of base 60", "12:30", "12:30"),
        ("what it takes for seconds", "12:30:45", "12:30:45"),
        ("what it takes for a date", "2026-01-05", "2026-01-05"),
        ("what it takes for an octal number", "0644", "0644"),
        ("what it takes for a boolean", "on", "on"),
        ("another of them", "No", "No"),
        ("a number keeps its digits", "1.10", "1.10"),
        ("an underscore in a number", "1_000", "1_000"),
        ("infinity", ".inf", ".inf"),
        ("true is text for the model to read", "true", "true"),
        ("nothing", "", None),
        ("nothing, by its sign", "~", None),
        ("nothing, by its name", "null", None),
        ("nothing in quotes is a text", "''", ""),
        ("its name in quotes is a text", "'null'", "null"),
        ("a text over two lines", "|\n  a\n  b\n", "a\nb\n"),
        ("an explicit text", "!!str 5", "5"),
    ],
)
def test_a_scalar_is_the_text_that_was_written(rule: str, text: str, value: str | None) -> None:
    assert read("f", f"key: {text}").data == {"key": value}, rule


@pytest.mark.parametrize(
    ("rule", "text", "value"),
    [
        ("a value that is a variable", "${NAME}", "value"),
        ("in a flow list", "[${NAME}, ${OTHER}]", ["value", "two words"]),
        ("in a flow mapping", "{a: ${NAME}}", {"a": "value"}),
        ("part of a value", "x-${NAME}-${NAME}", "x-value-value"),
        ("in either quotes", "['${NAME}', \"${NAME}\"]", ["value", "value"]),
        ("not set", "${NONE}", Unset("NONE")),
        ("empty is as good as not set", "${EMPTY}", Unset("EMPTY")),
        ("not set, part of a value", "x${NONE}", Unset("NONE", part=True)),
        ("an escaped one", "$${NAME}", "${NAME}"),
        ("an escaped one among others", "'${NAME} $${NAME}'", "value ${NAME}"),
        ("a dollar alone", "$5", "$5"),
        ("a variable's value changes no structure", "[${EVIL}]", ["]\nroute: {receiver: evil}"]),
        ("a variable's value is text", "${NULL}", "null"),
    ],
)
def test_variables_are_taken_from_the_environment(rule: str, text: str, value: Any) -> None:
    assert read("f", f"key: {text}", ENVIRON).data == {"key": value}, rule


def test_keys_take_no_variables() -> None:
    assert read("f", "'${NAME}': a", ENVIRON).data == {"${NAME}": "a"}


def test_without_an_environment_variables_are_text() -> None:
    assert read("f", "a: 'rate is ${value} of $labels'").data == {"a": "rate is ${value} of $labels"}


def test_every_node_keeps_its_place() -> None:
    document = read("f", "a:\n  - b: 1\n    c: [x, y]\n  - ${NAME}\nd: ${NAME} # ${NAME}\n", ENVIRON)
    places = {path: (mark.line, mark.column) for path, mark in document.marks.items()}
    assert places == {
        (): (1, 1),
        ("a",): (1, 1),
        ("a", 0): (2, 5),
        ("a", 0, "b"): (2, 5),
        ("a", 0, "c"): (3, 5),
        ("a", 0, "c", 0): (3, 9),
        ("a", 0, "c", 1): (3, 12),
        ("a", 1): (4, 5),
        ("d",): (5, 1),
    }
    assert document.line(("a", 0, "c", 1, "deeper")) == 3, "what is not in the file is where its surroundings are"


def test_aliases_and_merges_work_and_own_keys_win() -> None:
    text = """
        base: &base {a: 1, b: 2}
        more: &more {c: 3}
        one: {<<: *base, b: own}
        two: {<<: [*base, *more]}
        three: *more
    """
    data = read("f", text.replace("\n        ", "\n")).data
    assert data["one"] == {"a": "1", "b": "own"}
    assert data["two"] == {"a": "1", "b": "2", "c": "3"}
    assert data["three"] == {"c": "3"}


@pytest.mark.parametrize(
    ("rule", "text", "problem"),
    [
        ("a key twice", "a: 1\nb: 2\na: 3", "f:3: `a` is given twice, here and on line 1"),
        (
            "a tag of Python's",
            "a: !!python/object:x {}",
            "f:1: the tag !!python/object:x is not read here: leave it out",
        ),
        ("a tag of anybody's", "a: !vault x", "f:1: the tag !vault is not read here: leave it out"),
        ("a typed scalar", "a: !!int 5", "f:1: the tag !!int is not read here: leave it out"),
        ("a key that is a list", "? [a]\n: b", "f:1: a key must be a plain word"),
        ("an alias to nothing", "a: *b", "f:1: not valid YAML: found undefined alias 'b'"),
        ("a bell", "a: 1\nb: \a", "f:2: the character U+0007 cannot be used in YAML"),
        ("a character that is ours", "a: \ue001", "f:1: the character U+E001 cannot be used here"),
        ("a merge of a text", "<<: a", "f:1: `<<` takes a mapping or a list of mappings"),
    ],
)
def test_what_is_refused(rule: str, text: str, problem: str) -> None:
    with pytest.raises(ConfigErrors) as refused:
        read("f", text, {})
    assert str(refused.value) == problem, rule


def test_aliases_cannot_blow_a_document_up() -> None:
    laughs = "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
    for name, before in zip("bcdefghi", "abcdefgh", strict=True):
        laughs += f"{name}: &{name} [" + ",".join([f"*{before}"] * 10) + "]\n"
    with pytest.raises(ConfigErrors, match="blow this document up"):
        read("f", laughs)


def test_a_document_nested_too_deeply_is_a_problem_and_no_crash() -> None:
    with pytest.raises(ConfigErrors, match="nested too deeply"):
        read("f", "[" * 20_000 + "]" * 20_000)
