"""The same tree, the same verdict and the same receivers as Alertmanager's own amtool."""

from __future__ import annotations

import json
import random
import re
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from alertbot.cli import cli
from alertbot.config.load import ConfigErrors, load

#: What of an Alertmanager configuration is ours too; of its receivers the names.
SHARED = ("route", "inhibit_rules", "time_intervals", "mute_time_intervals")
#: Configurations that are refused for the sake of something shared; all others of the corpus for a
#: receiver's.
REFUSED = {
    "conf.bad",
    "conf.nil-match_re-route",
    "conf.opsgenie-default-apikey-old-team",
    "conf.nil-source_match_re-inhibition",
    "conf.nil-target_match_re-inhibition",
    "route_labels",
    "testdata_auth",
    "testdata_auth-local",
    "testdata_noauth",
    "testdata_noauth-local",
}

#: How a setting that Alertmanager has and alertbot has not is refused.
LACKING = re.compile(
    r"unknown (key|integration) `|is Alertmanager's and not alertbot's|this is an incoming webhook"
    r"|global `smtp_from` is missing|`channel` is missing"
)


def shared_part(file: Path) -> Any:
    data = yaml.safe_load(file.read_text())
    if not isinstance(data, dict):
        return data
    part = {key: data[key] for key in SHARED if key in data}
    return part | {"receivers": [{"name": r["name"]} for r in data.get("receivers", ())]}


def refusal(file: Path) -> str:
    try:
        load(file, {})
    except ConfigErrors as error:
        return str(error)
    return ""


def configs(corpus: Path) -> list[Path]:
    return sorted((corpus / "alertmanager_configs").glob("*.yml"))


def test_what_of_the_published_configurations_is_shared_gets_the_verdict_it_should(
    corpus: Path, tmp_path: Path
) -> None:
    files = configs(corpus)
    assert len(files) == 57
    for file in files:
        part = tmp_path / file.name
        part.write_text(yaml.safe_dump(shared_part(file)))
        expected = any(file.stem.endswith(name) for name in REFUSED)
        assert bool(refusal(part)) == expected, f"{file.name}: {refusal(part)}"


@pytest.mark.real("amtool")
def test_what_of_the_published_configurations_is_shared_gets_amtools_verdict(
    corpus: Path, tmp_path: Path, real_server: Callable[[str], Path]
) -> None:
    for file in configs(corpus):
        part = tmp_path / file.name
        part.write_text(yaml.safe_dump(shared_part(file)))
        theirs = subprocess.run([real_server("amtool"), "check-config", part], capture_output=True, text=True)
        assert bool(refusal(part)) == (theirs.returncode != 0), f"{file.name}: {theirs.stdout}{theirs.stderr}"


def test_of_whole_configurations_only_what_alertbot_lacks_is_refused(corpus: Path) -> None:
    """A route, a rule or an interval that amtool takes is never among the reasons."""
    results = (corpus / "alertmanager_configs" / "AMTOOL_0.25_RESULTS.txt").read_text()
    good = re.findall(r"^0 (\S+)", results, re.MULTILINE)
    assert len(good) == 15
    for name in good:
        for line in refusal(corpus / "alertmanager_configs" / name).splitlines():
            assert LACKING.search(line), line


# Trees made up at random, and what amtool makes of them.

#: Random trees, and label sets for each of them.
TREES, SETS = 200, 10
LABELS = {"team": ["web", "db", "ops"], "env": ["prod", "dev", ""], "severity": ["critical", "page", "info"]}


def random_tree(chance: random.Random, depth: int = 0) -> dict[str, Any]:
    route: dict[str, Any] = {}
    if depth == 0 or chance.random() < 0.7:
        route["receiver"] = chance.choice("abcdef")
    if depth:
        label = chance.choice(list(LABELS))
        values = chance.sample(LABELS[label], 2)
        form = chance.choice(["matchers", "match", "match_re", "none"])
        if form == "matchers":
            op = chance.choice(["=", "!=", "=~", "!~"])
            route["matchers"] = [f'{label}{op}"{values[0] if "~" not in op else "|".join(values)}"']
        elif form == "match":
            route["match"] = {label: values[0]}
        elif form == "match_re":
            route["match_re"] = {label: "|".join(values)}
        if chance.random() < 0.4:
            route["continue"] = True
    if depth < 3:
        route["routes"] = [random_tree(chance, depth + 1) for _ in range(chance.randrange(4))]
    return route


@pytest.mark.real("amtool")
def test_two_thousand_random_label_sets_go_through_random_trees_as_amtool_routes_them(
    tmp_path: Path, real_server: Callable[[str], Path]
) -> None:
    amtool = real_server("amtool")
    chance = random.Random(2026)
    cases: list[tuple[Path, dict[str, str], str]] = []
    for n in range(TREES):
        file = tmp_path / f"{n}.yml"
        receivers = [{"name": name} for name in "abcdef"]
        file.write_text(yaml.safe_dump({"route": random_tree(chance), "receivers": receivers}))
        sets = []
        for _ in range(SETS):
            labels = {name: chance.choice(values) for name, values in LABELS.items() if chance.random() < 0.8}
            sets.append({name: value for name, value in labels.items() if value})
        command = ["routes", "test", "--jsonl", "--config", str(file)]
        ours = CliRunner().invoke(cli, command, input="\n".join(map(json.dumps, sets)))
        assert ours.exit_code == 0, ours.output
        cases += [(file, *case) for case in zip(sets, ours.stdout.splitlines(), strict=True)]

    def theirs(case: tuple[Path, dict[str, str], str]) -> str:
        file, labels, _ = case
        given = [f"{name}={value}" for name, value in labels.items()]
        command = [str(amtool), "config", "routes", "test", f"--config.file={file}", *given]
        done = subprocess.run(command, capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else done.stderr

    assert len(cases) >= 2000
    with ThreadPoolExecutor(4) as threads:
        for case, answer in zip(cases, threads.map(theirs, cases), strict=True):
            assert case[2] == answer, f"{case[1]}\n{case[0].read_text()}"
