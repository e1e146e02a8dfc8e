"""YAML as a configuration wants it: every scalar stays the text that was written, and every node keeps its
line.

YAML 1.1 guesses a type from how a scalar looks: `12:30` is 750, `on` is true, `0644` is 420, `1.10` is 1.1
and `2026-01-05` a date. We guess nothing: a scalar is text, or nothing at all (empty, `~`, `null`), and the
model that reads it knows what it should be. Duplicate keys and tags are refused; anchors, aliases and `<<`
work within a bound.

`${NAME}` in a value is taken from the environment, after parsing: what is in a variable can change no
structure. `$${NAME}` is the text `${NAME}`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from alertbot.config.problems import ConfigErrors, Path, Problem

#: Nodes of one document with all aliases followed. A thousand times a large configuration is far below it.
MAX_NODES: Final = 500_000

_NULL: Final = frozenset(("", "~", "null", "Null", "NULL"))
_MERGE: Final = "<<"
_TAGS: Final = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map"))

# While the text is parsed, a variable's braces are private characters: `[${NAME}]` would else be a flow
# mapping. Each stands for one character, so that columns stay right.
_VARIABLE: Final = re.compile(r"(\$?)\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_OPEN, _CLOSE, _ESCAPE = "\ue000\ue001", "\ue002", "\ue003\ue000\ue001"
_HIDDEN: Final = re.compile(f"({_ESCAPE}|{_OPEN})([A-Za-z0-9_]+){_CLOSE}")
_PRIVATE: Final = re.compile("[\ue000-\ue003]")


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in the file; both count from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Unset:
    """A value with `${name}` in it, where the environment has no such variable, or an empty one.

    `part`: there is more to the value than the variable. Half a value is a wrong one, whatever it is for.
    """

    name: str
    part: bool = False


@dataclass(frozen=True, slots=True)
class Document:
    """`data` is made of dict, list, str, None and Unset. `marks` has the place of each path; () is the
    document.
    """

    file: str
    data: Any
    marks: Mapping[Path, Mark]

    def line(self, path: Path) -> int:
        """The line of a path, or of the nearest thing around it that the file has."""
        while path and path not in self.marks:
            path = path[:-1]
        return self.marks[path].line if path in self.marks else 1


def read(file: str, text: str, environ: Mapping[str, str] | None = None) -> Document:
    """Reads one YAML document. Without `environ`, `${NAME}` is text like any other.

    Raises ConfigErrors with all that was found where the text is not YAML, or is YAML that we refuse. A
    variable that is not set raises nothing: it is for the reader of the value to say whether it is needed
    (`Unset`).
    """
    private = _PRIVATE.search(text)
    if private is not None:
        what = f"the character U+{ord(private[0]):04X} cannot be used here"
        raise ConfigErrors([Problem(file, text.count("\n", 0, private.start()) + 1, what)])
    if environ is not None:
        text = _VARIABLE.sub(lambda m: (_ESCAPE if m[1] else _OPEN) + m[2] + _CLOSE, text)
    node = _compose(file, text)
    builder = _Builder(file, environ)
    if node is None:
        return Document(file, None, {(): Mark(1, 1)})
    builder.mark((), node)
    data = builder.value(node, (), ())
    if builder.problems:
        raise ConfigErrors(builder.problems)
    return Document(file, data, builder.marks)


class _Loader(yaml.SafeLoader):
    """Resolves no scalar to a type."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  # PyYAML's own class attribute, replaced


def _compose(file: str, text: str) -> yaml.Node | None:
    try:
        loader = _Loader(text)
        try:
            return loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 1
        raise ConfigErrors([Problem(file, line, _said(error))]) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        what = f"the character U+{error.character:04X} cannot be used in YAML"
        raise ConfigErrors([Problem(file, line, what)]) from None
    except RecursionError:
        raise ConfigErrors([Problem(file, 1, "nested too deeply to be read")]) from None


def _said(error: yaml.MarkedYAMLError) -> str:
    problem = _shown(error.problem or "this is not YAML")
    if "'\\t'" in problem:
        return "a tab cannot indent in YAML: use spaces"
    if "expected a single document" in (error.context or ""):
        return "a second document starts here (`---`): a configuration is one document"
    if error.context:
        return f"not valid YAML: {problem} ({_shown(error.context)})"
    return f"not valid YAML: {problem}"


def _shown(text: str) -> str:
    """Text with its variables as they were written."""
    return _HIDDEN.sub(lambda m: ("$${" if m[1] == _ESCAPE else "${") + m[2] + "}", text)


@dataclass(slots=True)
class _Builder:
    """Makes plain data of nodes, and keeps where each stood."""

    file: str
    environ: Mapping[str, str] | None
    marks: dict[Path, Mark] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    nodes: int = 0

    def mark(self, path: Path, node: yaml.Node) -> None:
        start = node.start_mark
        self.marks.setdefault(path, Mark(start.line + 1, start.column + 1))

    def problem(self, node: yaml.Node, what: str) -> None:
        self.problems.append(Problem(self.file, node.start_mark.line + 1, what))

    def value(self, node: yaml.Node, path: Path, inside: tuple[int, ...]) -> Any:
        """Plain data of a node. `inside` are the nodes around it, to see an alias that contains itself."""
        self.nodes += 1
        if self.nodes > MAX_NODES:
            self.problem(node, "aliases blow this document up beyond any configuration")
            raise ConfigErrors(self.problems)
        if node.tag not in _TAGS:
            self.problem(node, f"the tag {node.tag.replace('tag:yaml.org,2002:', '!!')} is not read here: leave it out")
            return None
        if id(node) in inside:
            self.problem(node, "this anchor contains an alias to itself")
            return None
        match node:
            case yaml.MappingNode():
                return self.mapping(node, path, (*inside, id(node)))
            case yaml.SequenceNode():
                return self.sequence(node, path, (*inside, id(node)))
            case yaml.ScalarNode():
                return self.scalar(node)
            case _:
                raise AssertionError(f"a node of no kind: {type(node)}")

    def sequence(self, node: yaml.SequenceNode, path: Path, inside: tuple[int, ...]) -> list[Any]:
        made = []
        for i, item in enumerate(node.value):
            self.mark((*path, i), item)
            made.append(self.value(item, (*path, i), inside))
        return made

    def mapping(self, node: yaml.MappingNode, path: Path, inside: tuple[int, ...]) -> dict[str, Any]:
        """Its own keys first, then what `<<` brings for keys it has not."""
        made: dict[str, Any] = {}
        seen: dict[str, int] = {}
        merged: list[yaml.Node] = []
        for key, item in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self.problem(key, "a key must be a plain word")
                continue
            if key.value == _MERGE and key.style is None:
                merged += item.value if isinstance(item, yaml.SequenceNode) else [item]
                continue
            name = _shown(key.value)
            if name in seen:
                self.problem(key, f"`{name}` is given twice, here and on line {seen[name]}")
                continue
            seen[name] = key.start_mark.line + 1
            self.mark((*path, name), key)
            made[name] = self.value(item, (*path, name), inside)
        for other in merged:
            if not isinstance(other, yaml.MappingNode):
                self.problem(other, "`<<` takes a mapping or a list of mappings")
                continue
            # `mark` keeps the first place of a path, so a key of our own keeps its own.
            more = self.value(other, path, inside)
            made = {**more, **made} if isinstance(more, dict) else made
        return made

    def scalar(self, node: yaml.ScalarNode) -> str | Unset | None:
        text: str = node.value
        if node.style is None and text in _NULL:
            return None
        if self.environ is None:
            return text
        whole = _HIDDEN.fullmatch(text)
        if whole is not None and whole[1] == _OPEN:
            return self.environ.get(whole[2]) or Unset(whole[2])
        if "${" in text.replace("$${", ""):
            self.problem(
                node,
                "`${` starts a variable of the environment, as ${NAME}; write $${ for the two characters",
            )
            return None
        lacking = [m[2] for m in _HIDDEN.finditer(text) if m[1] == _OPEN and not self.environ.get(m[2])]
        if lacking:
            return Unset(lacking[0], part=True)
        return _HIDDEN.sub(self.part, text.replace("$${", "${"))

    def part(self, found: re.Match[str]) -> str:
        return "${" + found[2] + "}" if found[1] == _ESCAPE else (self.environ or {})[found[2]]
