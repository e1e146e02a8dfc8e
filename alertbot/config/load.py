"""alertbot.yml → Config, or all that is wrong with it, each with its line.

Steps: read the YAML; go through it along the models (unknown keys, secrets from files, variables that are not
set); check what hangs together (receivers, intervals, fallbacks); validate the values; compile. Each step
goes on as far as it can, so that one run names every mistake; only a file that is no YAML ends at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path as FilePath

from alertbot.config import yaml
from alertbot.config.compile import compile_policy
from alertbot.config.doubts import doubts
from alertbot.config.effect import NOT_IN_EFFECT, not_in_effect
from alertbot.config.integrations import Integration, Key, integrations
from alertbot.config.models import Settings
from alertbot.config.problems import ConfigErrors, Path, Problem
from alertbot.config.references import References
from alertbot.config.values import misfits, validate
from alertbot.config.walk import Walk
from alertbot.config.yaml import Document
from alertbot.domain.policy import Policy

__all__ = ["NOT_IN_EFFECT", "Config", "ConfigErrors", "Problem", "load"]


@dataclass(frozen=True, slots=True)
class Config:
    """A configuration that can be run. `not_in_effect` names what was set and does nothing yet."""

    file: str
    settings: Settings
    policy: Policy
    integrations: Mapping[Key, Integration]
    warnings: tuple[Problem, ...]
    not_in_effect: list[Problem]
    places: Document
    """Where everything stands: `places.line(("route", "routes", 0))`. The values are not in it."""

    def problem(self, path: Path, what: str) -> Problem:
        """Something to say of a place in this file."""
        return Problem(self.file, self.places.line(path), what)


def load(path: str | FilePath, environ: Mapping[str, str], *, need_secrets: bool = True) -> Config:
    """Reads, checks and compiles a configuration.

    `need_secrets=False` is for commands that send nothing (check, replay, routes): a secret's file that is
    not there is then a warning, and the destination runs dry. Raises ConfigErrors with every problem that was
    found.
    """
    file = str(path)
    document = yaml.read(file, read_text(file), environ)
    walk = Walk(document, FilePath(file).parent, need_secrets)
    data = walk.section(Settings, {} if document.data is None else document.data, ())
    if isinstance(document.data, dict | None):
        References(walk, data).all()
    settings = validate(walk, data)
    if settings is not None:
        for entry, what in misfits(settings, walk.unset):
            walk.problem(entry.path, what)
    if walk.problems or settings is None:
        raise ConfigErrors(walk.problems)
    policy = compile_policy(settings)
    for place, what in doubts(settings, policy):
        walk.warn(place, what)
    return Config(
        file=file,
        settings=settings,
        policy=policy,
        integrations=integrations(settings),
        warnings=tuple(sorted(walk.warnings)),
        not_in_effect=not_in_effect(walk.document, data),
        places=replace(walk.document, data=None),
    )


def read_text(file: str) -> str:
    """The text of a file. Raises ConfigErrors where it cannot be read or is not UTF-8."""
    try:
        return FilePath(file).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigErrors([Problem(file, 1, f"cannot be read: {error.strerror}")]) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigErrors([Problem(file, line, "this is not UTF-8 text")]) from None
