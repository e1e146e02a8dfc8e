"""The folder of runbooks: reads it, and knows which runbook is for an alert. Only `load` reads from the disk."""

from __future__ import annotations

import os
import posixpath
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from jinja2 import StrictUndefined, Template, TemplateError
from jinja2.sandbox import SandboxedEnvironment

from alertbot.config.load import Config
from alertbot.config.problems import Problem
from alertbot.domain.enrichment import RunbookRef
from alertbot.enrich.runbooks.model import ALERTNAME, Names, Runbook
from alertbot.enrich.runbooks.search import Index
from alertbot.enrich.runbooks.steps import first_steps
from alertbot.enrich.runbooks.text import Front, front_matter, http_url, links_of, sections_of

#: A longer file is no runbook.
MAX_BYTES: Final = 1 << 20


class Runbooks:
    """All runbooks, by name, by alert and by words. `problems` is what was wrong with files; they are used as far
    as they could be read.

    `files` are all files of the folder, as paths within it with `/`. `url` is a Jinja template with `slug` and
    `alertname`, for an alert that has no runbook here; raises ValueError where it is none.
    """

    def __init__(
        self,
        runbooks: Iterable[Runbook] = (),
        files: Iterable[str] = (),
        url: str | None = None,
        problems: Iterable[Problem] = (),
    ) -> None:
        self.all: Final = tuple(sorted(runbooks, key=lambda r: r.name))
        self.files: Final = frozenset(files)
        self.problems: Final = tuple(sorted(set(problems)))
        self._url: Final = _url_template(url) if url else None
        self._exact: Final[dict[str, list[tuple[Names, Runbook]]]] = defaultdict(list)
        self._patterns: Final[list[tuple[Names, Runbook]]] = []
        self._keys: Final[dict[str, list[Runbook]]] = defaultdict(list)
        for runbook in self.all:
            for names in runbook.alerts:
                if names.exact is None:
                    self._patterns.append((names, runbook))
                else:
                    self._exact[names.exact].append((names, runbook))
            called = (runbook.name, posixpath.basename(runbook.name), runbook.title)
            for key in dict.fromkeys(map(key_of, called)):
                self._keys[key].append(runbook)
        for entries in (*self._exact.values(), self._patterns):
            # The more an entry says, the more it is meant; then by name, so that it is the same one every time.
            entries.sort(key=lambda e: (-len(e[0].conditions), e[1].name))

    @cached_property
    def _index(self) -> Index:
        return Index(self.all)

    def for_alert(self, labels: Mapping[str, str], annotations: Mapping[str, str]) -> RunbookRef | None:
        """What to show with an alert: its file's title and steps, and the link.

        `runbook_url` (or `runbook`) of the annotations is the link where it is an http(s) one; else `runbooks.url`
        makes one, where no file is for the alert. None: there is nothing to show.
        """
        said = next((u for n in ("runbook_url", "runbook") if (u := http_url(annotations.get(n, "")))), "")
        runbook = self.find(labels, annotations)
        if runbook is not None:
            return RunbookRef(runbook.title, said, runbook.steps, runbook.name)
        name = labels.get(ALERTNAME, "")
        url = said or self._link(name)
        return RunbookRef(name or "Runbook", url, ()) if url else None

    def find(
        self, labels: Mapping[str, str], annotations: Mapping[str, str] | None = None, *, of_rule: bool = False
    ) -> Runbook | None:
        """The file for an alert: by its exact name, else by a pattern, else the one that `runbook_url` ends in.

        `of_rule`: the labels are those of a rule, and an alert of it has more.
        """
        for names, runbook in (*self._exact.get(labels.get(ALERTNAME, "").casefold(), []), *self._patterns):
            if names.may_take(labels) if of_rule else names.take(labels):
                return runbook
        url = http_url((annotations or {}).get("runbook_url", ""))
        last = unquote(urlsplit(url).path.rstrip("/").rpartition("/")[2]).removesuffix(".md")
        found = self._keys.get(key_of(last), []) if last else []
        return found[0] if len(found) == 1 else None

    def named(self, what: str, labels: Mapping[str, str] | None = None) -> list[Runbook]:
        """Those that a person means by a file's name, a title, or an alert's name; several where it is not clear."""
        key = key_of(what.removesuffix(".md"))
        if not key:
            return []
        called = [r for r in self._keys.get(key, []) if key in (key_of(r.name), key_of(posixpath.basename(r.name)))]
        if called or key in self._keys:
            exactly = [r for r in called if key_of(r.name) == key]
            return exactly or called or list(self._keys[key])
        runbook = self.find({**(labels or {}), ALERTNAME: what})
        if runbook is not None:
            return [runbook]
        entries = (*self._exact.get(what.casefold(), []), *self._patterns)
        return list({r.name: r for n, r in entries if n.may_take({ALERTNAME: what})}.values())

    def search(self, query: str, limit: int = 10) -> list[tuple[Runbook, float]]:
        """The runbooks that have the words, the best first, with a score. Typos are forgiven: one in a word of four
        letters and more, two in one of eight and more.
        """
        return [(self.all[i], score) for i, score in self._index.search(query)[:limit]]

    def _link(self, alertname: str) -> str:
        slug = slug_of(alertname)
        if self._url is None or not slug:
            return ""
        return http_url(self._url.render(slug=slug, alertname=quote(alertname, safe="")))

    def is_ours(self, url: str) -> bool:
        """Whether an address lies where `runbooks.url` leads to."""
        if self._url is None:
            return False
        mark = "alertbot-slug"
        before = self._url.render(slug=mark, alertname=mark).partition(mark)[0]
        return bool(http_url(before)) and url.startswith(before)


def key_of(name: str) -> str:
    """What is left of a name that people write in many ways: `HighErrorRate`, `high-error-rate`."""
    return "".join(c for c in name.casefold() if c.isalnum())


def slug_of(name: str) -> str:
    """`HighErrorRate` as the last part of an address: `high-error-rate`. Only a-z, 0-9 and `-`."""
    parted = re.sub(r"([a-z0-9])([A-Z])|([A-Z])([A-Z][a-z])", lambda m: f"{m[1] or m[3]}-{m[2] or m[4]}", name[:500])
    return re.sub(r"[^a-z0-9]+", "-", parted.lower()).strip("-")[:200]


def _url_template(url: str) -> Template:
    try:
        template = SandboxedEnvironment(undefined=StrictUndefined).from_string(url)
        made = template.render(slug="slug", alertname="AlertName")
    except TemplateError as e:
        raise ValueError(f"not a template of an address: {e}; `slug` and `alertname` are known") from None
    if not http_url(made):
        raise ValueError(f"makes no http(s) address, but {made!r}")
    return template


def load(folder: Path, url: str | None = None) -> Runbooks:
    """Reads a folder: every `.md` file in it and below it, but README.md, and none whose name starts with `_`.

    What a symlink leads to is read only if it lies in the folder; folders that start with a dot are left out (a
    ConfigMap's files are links into one). A file that cannot be read is a problem of the result. Raises OSError
    without a folder, ValueError for a bad `url`.
    """
    root = folder.resolve(strict=True)
    runbooks: list[Runbook] = []
    problems: list[Problem] = []
    files: list[str] = []
    with os.scandir(root):  # raises what os.walk would keep to itself
        pass
    for where, folders, names in os.walk(root):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for name in sorted(names):
            path = Path(where, name)
            inside = path.relative_to(root).as_posix()
            if name.startswith("."):
                continue
            shown = str(folder / inside)
            try:
                real = Path(os.path.realpath(path, strict=True))
                if not real.is_relative_to(root):
                    problems.append(Problem(shown, 1, "this link leads out of the folder: not read"))
                    continue
                files.append(inside)
                if not name.lower().endswith(".md") or name.startswith("_") or name.lower() == "readme.md":
                    continue
                text = _read(real)
            except OSError as e:
                problems.append(Problem(shown, 1, f"cannot be read: {e.strerror or e}"))
            except ValueError as e:
                problems.append(Problem(shown, 1, str(e)))
            else:
                runbook, wrong = parse(inside[: -len(".md")], shown, text)
                runbooks.append(runbook)
                problems += wrong
    return Runbooks(runbooks, files, url, problems)


def _read(path: Path) -> str:
    if not path.is_file():
        raise ValueError("not a regular file: not read")
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(f"larger than {MAX_BYTES >> 20} MiB: not read")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise ValueError(f"not UTF-8: byte {e.start} is {data[e.start]:#04x}") from None


def parse(name: str, file: str, text: str) -> tuple[Runbook, list[Problem]]:
    """A runbook and what is wrong with its front matter. What can be used is used: nobody who is woken at night
    wants to hear of a comma.
    """
    lines = text.removeprefix("\ufeff").splitlines()
    front, start, problems = front_matter(file, lines)
    reader = Front(file, front, problems)
    sections = tuple(sections_of(lines, start))
    stem = posixpath.basename(name)
    heading = next((s.title for s in sections if s.level), "")
    names = reader.alerts() if "alerts" in reader.data else [Names(stem, 1, stem.casefold(), (), ())]
    runbook = Runbook(
        name=name,
        file=file,
        title=reader.text("title") or heading or stem,
        alerts=tuple(names),
        severity=reader.text("severity"),
        owner=reader.text("owner"),
        dashboards=tuple(reader.dashboards()),
        sections=sections,
        links=tuple(links_of(sections)),
        steps=first_steps(sections),
        body="\n".join(lines[start:]).strip("\n"),
        given={key: front.line((key,)) for key in reader.data},
    )
    return runbook, sorted(set(problems))


def folder_of(config: Config) -> Path:
    """`runbooks.path`; a relative one starts at the configuration's own folder."""
    return Path(config.file).parent / config.settings.runbooks.path


def url_problem(config: Config) -> Problem | None:
    """What is wrong with `runbooks.url`."""
    try:
        Runbooks(url=config.settings.runbooks.url)
    except ValueError as e:
        return config.problem(("runbooks", "url"), f"runbooks.url: {e}")
    return None


def runbooks_of(config: Config) -> Runbooks:
    """The runbooks of a configuration. What is wrong with `runbooks` is among the problems; nothing is raised.

    A folder that the configuration does not name need not be there.
    """
    settings = config.settings.runbooks
    bad = url_problem(config)
    problems = [bad] if bad else []
    url = None if bad else settings.url
    folder = folder_of(config)
    try:
        found = load(folder, url)
    except (OSError, ValueError) as e:
        why = (e.strerror if isinstance(e, OSError) else None) or str(e)
        if "path" in settings.model_fields_set or not isinstance(e, FileNotFoundError):
            problems.append(config.problem(("runbooks", "path"), f"runbooks.path: {folder}: {why}"))
        found = Runbooks(url=url)
    return found if not problems else Runbooks(found.all, found.files, url, (*problems, *found.problems))
