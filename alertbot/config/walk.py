"""The raw data of alertbot.yml, taken through the models: what comes out has only keys that there are, no
variables, and secrets in their places.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath
from types import UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from alertbot.config import yaml
from alertbot.config.models import Integration, Section
from alertbot.config.problems import Path, Problem, did_you_mean, dotted, kind_of
from alertbot.config.yaml import Document, Unset

#: Settings of Alertmanager that people bring along, and what to do instead.
_ALERTMANAGERS: Final[Mapping[str, str]] = {
    "templates": "alertbot's wording is in its own templates directory",
    "resolve_timeout": "Alertmanager resolves alerts, alertbot hears of it",
    "http_config": "alertbot takes proxies from the environment (HTTPS_PROXY)",
    "service_key": "use routing_key, of an Events API v2 integration",
    "service_key_file": "use routing_key_file, of an Events API v2 integration",
    "api_url": "use slack_bot_token in global: an incoming webhook cannot edit its messages",
    "api_url_file": "use slack_bot_token in global: an incoming webhook cannot edit its messages",
    "slack_api_url_file": "use slack_bot_token_file: an incoming webhook cannot edit its messages",
    "labels": "alertbot has no route labels",
    "max_alerts": "alertbot says how many there are and names the first",
    "http_headers": "use headers",
    "text": "the wording is in alertbot's templates directory",
    "title": "the wording is in alertbot's templates directory",
    "html": "the wording is in alertbot's templates directory",
    "description": "the wording is in alertbot's templates directory",
    "tls_config": "alertbot uses the system's certificate authorities",
    "smtp_tls_config": "alertbot uses the system's certificate authorities",
}

_SECRET_FILE_MAX: Final = 64 * 1024


@dataclass(slots=True)
class Walk:
    """One pass over the raw data: what comes out has only known keys, no variables, and secrets in their
    place.
    """

    document: Document
    directory: FilePath
    need_secrets: bool
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    told: set[Path] = field(default_factory=set)
    """Paths whose value was found wrong here, so that validation need not say it again."""
    unset: set[Path] = field(default_factory=set)
    """Settings that were written and are taken as not given, as their variable or file is not there."""
    marks: dict[Path, yaml.Mark] = field(init=False)
    """The document's, and those of the secrets that came from files."""

    def __post_init__(self) -> None:
        self.marks = dict(self.document.marks)
        self.document = replace(self.document, marks=self.marks)

    def problem(self, path: Path, what: str) -> None:
        self.told.add(path)
        self.problems.append(Problem(self.document.file, self.document.line(path), what))

    def warn(self, path: Path, what: str) -> None:
        self.warnings.append(Problem(self.document.file, self.document.line(path), what))

    def section(self, model: type[Section], data: Any, path: Path) -> dict[str, Any]:
        if not isinstance(data, dict):
            self.problem(path, f"{dotted(path)}: expected a mapping, `key: value`, not {kind_of(data)}")
            return {}
        fields = {f.alias or name: f for name, f in model.model_fields.items()}
        secrets = [key for key, f in fields.items() if _is_secret(f)]
        made: dict[str, Any] = {}
        for key, value in data.items():
            here = (*path, key)
            stem = key.removesuffix("_file")
            if key in fields:
                self.value(model, key, fields[key], value, here, made)
            elif stem in secrets and stem != key:
                self.secret_file(stem, fields[stem], value, here, data, made)
            else:
                self.unknown(key, [*fields, *(f"{s}_file" for s in secrets)], here)
        return made

    def unknown(self, key: str, known: list[str], path: Path) -> None:
        instead = _ALERTMANAGERS.get(key)
        where = f" in {dotted(path[:-1])}" if path[:-1] else ""
        if instead is not None:
            what = f"`{key}`{where} is Alertmanager's and not alertbot's: {instead}"
        elif key.endswith("_configs") and (kinds := [k for k in known if k.endswith("_configs")]):
            meant = did_you_mean(key, kinds, 0.8) or f": there are {', '.join(kinds)}"
            what = f"unknown integration `{key}`{where}{meant}"
        else:
            what = f"unknown key `{key}`{where}{did_you_mean(key, known)}"
        self.problem(path, what)

    def value(
        self, model: type[Section], key: str, info: FieldInfo, value: Any, path: Path, made: dict[str, Any]
    ) -> None:
        """One known key. Nothing after the colon is as good as no key, as in Alertmanager."""
        below, is_list = section_in(info)
        if value is None:
            return
        if isinstance(value, Unset):
            optional = path[0] in ("global", "web") or issubclass(model, Integration)
            if value.part or info.is_required() or not (optional or _is_secret(info)):
                self.problem(path, f"{value.name} is not set in the environment, and `{key}` needs it")
            else:
                self.not_given(path, value.name)
        elif below is not None and not is_list:
            made[key] = self.section(below, value, path)
        elif is_list or _is_secret_list(info):
            if not isinstance(value, list):
                self.problem(
                    path,
                    f"`{key}`: expected a list, `[a, b]` or lines that start with `-`, not {kind_of(value)}",
                )
            elif below is not None:
                made[key] = [self.section(below, item, (*path, i)) for i, item in enumerate(value)]
            else:
                made[key] = self.secret_list(value, path)
        else:
            unset = list(_unset_in(value, path))
            for name, at in unset:
                self.problem(at, f"{name} is not set in the environment, and `{key}` needs it")
            if unset:
                self.told.add(path)
            else:
                made[key] = value

    def secret_list(self, values: list[Any], path: Path) -> list[Any]:
        kept = []
        for i, item in enumerate(values):
            if isinstance(item, Unset) and item.part:
                self.problem((*path, i), f"{item.name} is not set in the environment, and `{path[-1]}` needs it")
            elif isinstance(item, Unset):
                self.not_given((*path, i), item.name)
            elif item is not None and item != "":
                kept.append(item)
        return kept

    def not_given(self, path: Path, variable: str) -> None:
        self.unset.add(path)
        self.warn(path, f"{variable} is not set in the environment: {dotted(path)} is taken as not given")

    def secret_file(
        self,
        stem: str,
        info: FieldInfo,
        name: Any,
        path: Path,
        beside: Mapping[str, Any],
        made: dict[str, Any],
    ) -> None:
        """`x_file: path` in place of `x`. A list of secrets has one a line."""
        target = (*path[:-1], stem)
        if name is None:
            return
        if isinstance(name, Unset) and not name.part:
            self.unset.add(target)
            self.not_given(path, name.name)
            return
        if isinstance(name, Unset):
            self.problem(path, f"{name.name} is not set in the environment, and `{path[-1]}` needs it")
            return
        if not isinstance(name, str):
            self.problem(path, f"`{path[-1]}`: expected the path of a file, not {kind_of(name)}")
            return
        if beside.get(stem) not in (None, "", []) and not isinstance(beside[stem], Unset):
            self.problem(path, f"give `{stem}` or `{path[-1]}`, not both")
            return
        self.marks[target] = self.marks.get(path, yaml.Mark(1, 1))
        secret = self.read_secret(self.directory / name, path, target)
        if secret is not None:
            made[stem] = [s for s in secret.splitlines() if s.strip()] if _is_secret_list(info) else secret

    def read_secret(self, file: FilePath, path: Path, target: Path) -> str | None:
        try:
            with file.open("rb") as opened:
                content = opened.read(_SECRET_FILE_MAX + 1)
        except OSError as error:
            what = f"`{path[-1]}`: {file} cannot be read: {error.strerror}"
            if self.need_secrets:
                self.problem(path, what)
            else:
                self.unset.add(target)
                self.warn(path, what + "; taken as not given here, and `serve` would refuse it")
            self.told.add(target)
            return None
        try:
            text = content.decode().rstrip("\r\n")
        except UnicodeDecodeError:
            text = ""
        if not text.strip() or len(content) > _SECRET_FILE_MAX:
            self.problem(path, f"`{path[-1]}`: {file} is empty, or holds no text, or more than a secret has")
            self.told.add(target)
            return None
        return text


def _parts(annotation: Any) -> Iterator[Any]:
    """An annotation and all that it is made of; not what a mapping holds."""
    yield annotation
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _parts(get_args(annotation)[0])
    elif origin in (Union, UnionType, tuple):
        for part in get_args(annotation):
            yield from _parts(part)


def _is_secret(info: FieldInfo) -> bool:
    return SecretStr in _parts(info.annotation)


def _is_secret_list(info: FieldInfo) -> bool:
    return _is_secret(info) and get_origin(info.annotation) is tuple


def section_in(info: FieldInfo) -> tuple[type[Section] | None, bool]:
    """The section that a field holds, and whether it is a list of them."""
    for part in _parts(info.annotation):
        if isinstance(part, type) and issubclass(part, Section):
            return part, get_origin(info.annotation) is tuple
    return None, False


def _unset_in(value: Any, path: Path) -> Iterator[tuple[str, Path]]:
    if isinstance(value, Unset):
        yield value.name, path
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from _unset_in(item, (*path, i))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _unset_in(item, (*path, key))
