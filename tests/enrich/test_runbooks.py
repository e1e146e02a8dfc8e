"""Runbooks: what is read, which one is for an alert, what comes first, what a search finds, what lint says."""

from __future__ import annotations

import json
import os
import re
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alertbot.config.load import load as load_config
from alertbot.domain.enrichment import RunbookRef
from alertbot.enrich.runbooks import (
    MAX_BYTES,
    MAX_STEP,
    MAX_STEPS,
    Runbooks,
    lint,
    load,
    parse,
    plain,
    runbooks_of,
    slug_of,
    typos,
)
from alertbot.paths import data_dir

FRONT = "---\ntitle: T\nalerts: {alerts}\nseverity: high\nowner: me\n---\n# T\n\n## First steps\n\n1. Look.\n"


def folder(path: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return path


def of(files: dict[str, str], url: str | None = None) -> Runbooks:
    """Runbooks by name and text, without a disk."""
    parsed = [parse(name, f"{name}.md", text) for name, text in files.items()]
    return Runbooks((r for r, _ in parsed), (f"{n}.md" for n in files), url, (p for _, ps in parsed for p in ps))


def named(alerts: dict[str, str], **labels: str) -> str | None:
    """Which of the runbooks, by name and `alerts`, is for an alert with these labels."""
    found = of({name: FRONT.format(alerts=text) for name, text in alerts.items()}).for_alert(labels, {})
    return found.name if found else None


def everything(word: str) -> bool:
    return True


# Which alert.


@pytest.mark.parametrize(
    ("rule", "alerts", "labels", "expected"),
    [
        ("a name", {"a": "[HighErrorRate]"}, {"alertname": "HighErrorRate"}, "a"),
        ("in any case", {"a": "[HighErrorRate]"}, {"alertname": "higherrorRATE"}, "a"),
        ("a single text is a list of one", {"a": "HighErrorRate"}, {"alertname": "HighErrorRate"}, "a"),
        ("the whole name", {"a": "[HighErrorRate]"}, {"alertname": "HighErrorRates"}, None),
        ("a star is any text", {"a": "['Kube*Down']"}, {"alertname": "KubeProxyDown"}, "a"),
        ("also none, and in any case", {"a": "['Kube*Down']"}, {"alertname": "kubedown"}, "a"),
        ("a pattern is anchored", {"a": "['Kube*Down']"}, {"alertname": "MyKubeDown"}, None),
        ("a dot in a pattern is a dot", {"a": "['a.b*']"}, {"alertname": "axb1"}, None),
        ("`.*` is understood as `*`", {"a": "['Kube.*']"}, {"alertname": "KubePodNotReady"}, "a"),
        ("a regex is a matcher", {"a": "['alertname=~\"Api(Down|Slow)\"']"}, {"alertname": "apislow"}, "a"),
        ("labels too", {"a": '[\'{alertname="X", env="prod"}\']'}, {"alertname": "x", "env": "prod"}, "a"),
        ("other labels", {"a": '[\'{alertname="X", env="prod"}\']'}, {"alertname": "X", "env": "beta"}, None),
        ("a list of matchers", {"a": '[[alertname=X, team=~"a|b"]]'}, {"alertname": "X", "team": "b"}, "a"),
        ("labels alone", {"a": "['team=\"db\"']"}, {"alertname": "Whatever", "team": "db"}, "a"),
        ("exact before pattern", {"a": "['*']", "b": "[X]"}, {"alertname": "X"}, "b"),
        ("what says more first", {"a": "[X]", "b": "['alertname=X, e=p']"}, {"alertname": "X", "e": "p"}, "b"),
        ("else what says less", {"a": "[X]", "b": "['alertname=X, e=p']"}, {"alertname": "X"}, "a"),
        ("a condition unmet: a pattern", {"a": "['X*']", "b": "['alertname=X, e=p']"}, {"alertname": "X"}, "a"),
        ("not a name", {"a": "['alertname!=X']"}, {"alertname": "x"}, None),
        ("an alert without a name", {"a": "[X]"}, {}, None),
    ],
)
def test_a_runbook_is_for_the_alerts_that_it_names(
    rule: str, alerts: dict[str, str], labels: dict[str, str], expected: str | None
) -> None:
    assert named(alerts, **labels) == expected, rule


def test_a_file_that_names_no_alert_is_for_the_one_it_is_called_after() -> None:
    runbooks = of({"kubernetes/KubePodNotReady": "# Pods\n\n## Diagnosis\n\n- Look.\n"})
    assert runbooks.for_alert({"alertname": "kubepodnotready"}, {}) == RunbookRef(
        "Pods", "", ("Look.",), "kubernetes/KubePodNotReady"
    )


URL = "https://runbooks.example.org/{{ slug }}"


@pytest.mark.parametrize(
    ("rule", "alertname", "annotations", "url", "expected"),
    [
        (
            "a file and a link: its title and steps, and the link that the alert has",
            "Known",
            {"runbook_url": "https://wiki.example.org/known"},
            URL,
            RunbookRef("T", "https://wiki.example.org/known", ("Look.",), "known"),
        ),
        ("a file alone: url is for what is not in path", "Known", {}, URL, RunbookRef("T", "", ("Look.",), "known")),
        (
            "a link alone",
            "Other",
            {"runbook_url": "https://wiki.example.org/o"},
            URL,
            RunbookRef("Other", "https://wiki.example.org/o", ()),
        ),
        (
            "a link that ends in a file's name is that file's",
            "Other",
            {"runbook_url": "https://wiki.example.org/books/known.md"},
            None,
            RunbookRef("T", "https://wiki.example.org/books/known.md", ("Look.",), "known"),
        ),
        (
            "else the pattern",
            "HighCPUUsage",
            {},
            URL,
            RunbookRef("HighCPUUsage", "https://runbooks.example.org/high-cpu-usage", ()),
        ),
        (
            "the pattern may use the name, which cannot leave its place",
            "a/../b?c",
            {},
            "https://r.example.org/x/{{ alertname | lower }}",
            RunbookRef("a/../b?c", "https://r.example.org/x/a%2f..%2fb%3fc", ()),
        ),
        ("what is no http address is no link", "Other", {"runbook_url": "javascript:alert(1)"}, None, None),
        ("an open bracket is no address", "Other", {"runbook_url": "https://[x"}, None, None),
        ("the alert's text is no template", "{{ 7*7 }}", {}, URL, RunbookRef("{{ 7*7 }}", URL[:29] + "7-7", ())),
        ("nothing at all", "Other", {}, None, None),
    ],
)
def test_an_alert_is_shown_with_its_file_and_its_link(
    rule: str, alertname: str, annotations: dict[str, str], url: str | None, expected: RunbookRef | None
) -> None:
    runbooks = of({"known": FRONT.format(alerts="[Known]")}, url)
    assert runbooks.for_alert({"alertname": alertname}, annotations) == expected, rule


@pytest.mark.parametrize(
    "url", ["https://r.example.org/{{ slug", "https://{{ nothing }}", "runbooks/{{ slug }}", "{%x%}"]
)
def test_a_pattern_that_makes_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"address"):
        Runbooks(url=url)


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("HighErrorRate", "high-error-rate"),
        ("etcdGRPCRequestsSlow", "etcd-grpc-requests-slow"),
        ("KubeAPIDown", "kube-api-down"),
        ("Disk full (root)", "disk-full-root"),
        ("../../etc", "etc"),
        ("Überlast", "berlast"),
        ("…", ""),
    ],
)
def test_a_slug_is_an_alerts_name_for_an_address(name: str, slug: str) -> None:
    assert slug_of(name) == slug


# Reading.


@pytest.mark.parametrize(
    ("mistake", "text", "problems"),
    [
        ("no end", "---\ntitle: T\n", ["x.md:1: the front matter that starts here has no end: a line with `---`"]),
        ("no YAML", "---\ntitle: T\nalerts: [a\n---\n", ["x.md:3: not valid YAML"]),
        ("given twice", "---\ntitle: T\ntitle: U\n---\n", ["x.md:3: `title` is given twice, here and on line 2"]),
        ("a list", "---\n- a\n---\n", ["x.md:2: expected a front matter of `key: value`, not a list"]),
        ("a typo", "---\nalert: A\n---\n", ["x.md:2: unknown key `alert`: did you mean `alerts`?"]),
        ("no list", "---\nalerts: {a: b}\n---\n", ["x.md:2: `alerts`: expected a list, not a mapping"]),
        ("a mapping", "---\nalerts:\n  - A\n  - {B: c}\n---\n", ["x.md:4: `alerts`: expected an alert's name, or "]),
        ("matchers", "---\nalerts:\n  - 'a=~\"(\"'\n---\n", ["x.md:3: `alerts`: not matchers: "]),
        ("an empty text", "---\nalerts: [A]\nowner: ''\n---\n", ["x.md:3: `owner`: expected a text, not an empty one"]),
        ("no label", "---\nalerts: ['=']\n---\n", ["x.md:2: `alerts`: not matchers: "]),
        ("no text", "---\ntitle: [a]\n---\n", ["x.md:2: `title`: expected a text, not a list"]),
        (
            "dashboards",
            "---\ndashboards: [https://a.b/c, grafana]\n---\n",
            ["x.md:2: `dashboards`: expected an address"],
        ),
        ("another tool's key is none", "---\ntitle: T\nweight: 20\nbookHidden: true\n---\n", []),
    ],
)
def test_a_mistake_in_the_front_matter_is_named_with_its_line(mistake: str, text: str, problems: list[str]) -> None:
    _, found = parse("x", "x.md", text)
    assert len(found) == len(problems), (mistake, [str(p) for p in found])
    for said, expected in zip(found, problems, strict=True):
        assert str(said).startswith(expected), mistake


def test_a_runbook_with_a_mistake_is_still_shown_for_its_alert() -> None:
    broken = of({"Alert": "---\ntitle: [\n---\n# Help\n\n## First steps\n- Do it.\n"})
    assert broken.problems
    assert broken.for_alert({"alertname": "Alert"}, {}) == RunbookRef("Help", "", ("Do it.",), "Alert")


@given(st.text(alphabet="-#`~*[]()<>{}:= \n\ta1.\\|\"'", max_size=300))
def test_no_text_makes_reading_fail(text: str) -> None:
    for whole in (text, f"---\n{text}\n---\n{text}", f"# T\n## First steps\n{text}"):
        runbook, _ = parse("a/b", "a/b.md", whole)
        assert len(runbook.steps) <= MAX_STEPS
        assert all(len(s) <= MAX_STEP and "\n" not in s for s in runbook.steps)
        runbooks = Runbooks([runbook], ["a/b.md"])
        lint(runbooks, everything)
        runbooks.search(text)


@pytest.mark.parametrize(
    ("rule", "text", "steps"),
    [
        ("the promising heading wins", "## Diagnosis\n- a\n## First five minutes\n1. b\n2. c\n", ["b", "c"]),
        ("its parts belong to it", "## First steps\n### Now\n- a\n### Then\n- b\n## Other\n- c\n", ["a", "b"]),
        ("a line that goes on", "## First steps\n- a\n  b\nc\n- d\n", ["a b c", "d"]),
        ("a list within is not", "## First steps\n- a\n  - x\n  - y\n- b\n", ["a", "b"]),
        ("a paragraph within is not", "## First steps\n- a\n\n  more\n\n- b\n\nafter\n", ["a", "b"]),
        ("a checkbox goes", "## First steps\n- [ ] a\n- [x] b\n", ["a", "b"]),
        (
            "links, emphasis go; code stays",
            "## First steps\n- **See** [it](x.md) in `a*b[c](d)`.\n",
            ["See it in `a*b[c](d)`."],
        ),
        (
            "a block's first command",
            "## First steps\n1. Look:\n   ```sh\n   # why\n   $ ls -l\n   ```\n2. b\n",
            ["Look: `ls -l`", "b"],
        ),
        ("not beside code", "## First steps\n1. `a`\n   ```\n   b\n   ```\n", ["`a`"]),
        ("what is in a block is no list", "## First steps\n```\n- a\n```\n- b\n", ["b"]),
        (
            "paragraphs where there is no list",
            "## Diagnosis\n\nLook\nthere.\n\n```\n$ ls\n```\n\nThen act.\n",
            ["Look there. `ls`", "Then act."],
        ),
        ("any list where no heading promises one", "## Meaning\nx\n## Notes\n- a\n", ["a"]),
        ("a list of links is none", "## Diagnosis\n- [a](b)\n- [c][d]\n\nLook.\n", ["Look."]),
        ("a heading in a block is none", "```\n## First steps\n- a\n```\n## Mitigation\n- b\n", ["b"]),
        ("nothing", "# T\n\nText.\n", []),
    ],
)  # fmt: skip
def test_the_first_steps_are_what_is_shown(rule: str, text: str, steps: list[str]) -> None:
    runbook, _ = parse("x", "x.md", text)
    assert list(runbook.steps) == steps, rule


def test_steps_are_few_and_short() -> None:
    runbook, _ = parse("x", "x.md", "## First steps\n" + "".join(f"- {i} `{'x' * 400}`\n" for i in range(9)))
    assert len(runbook.steps) == MAX_STEPS
    assert all(len(s) <= MAX_STEP and s.endswith("`…") for s in runbook.steps)


def test_markdown_of_a_line_becomes_text() -> None:
    assert plain("![i](a.png) [a](b_(c)) __d__ <br/> `__e__` a*b <!-- no -->") == "a d `__e__` a*b"


# The folder.


def test_only_runbooks_of_the_folder_are_read(tmp_path: Path) -> None:
    root = folder(tmp_path / "r", {"A.md": "# A", "sub/B.md": "# B", "_index.md": "", "README.md": "", "x.txt": ""})
    folder(root, {".git/C.md": "# C", ".D.md": "# D"})
    assert [r.name for r in load(root).all] == ["A", "sub/B"]


def test_what_leads_out_of_the_folder_is_not_read(tmp_path: Path) -> None:
    root = folder(tmp_path / "r", {"A.md": "# A"})
    folder(tmp_path, {"secret.md": "# hunter2", "out/E.md": "# hunter2", "runbooks2/F.md": "# hunter2"})
    (root / "link.md").symlink_to("../secret.md")
    (root / "absolute.md").symlink_to(tmp_path / "secret.md")
    (root / "folder").symlink_to(tmp_path / "out")
    (root / "sibling.md").symlink_to("../runbooks2/F.md")
    (root / "dangling.md").symlink_to("nowhere")
    (root / "loop.md").symlink_to("loop.md")
    runbooks = load(root)
    assert [r.name for r in runbooks.all] == ["A"]
    assert "hunter2" not in repr(runbooks.all)
    said = {Path(p.file).name: p.what for p in runbooks.problems}
    assert {n for n, w in said.items() if "leads out of the folder" in w} == {"link.md", "absolute.md", "sibling.md"}
    assert {"dangling.md", "loop.md"} <= said.keys()
    for name in ("../secret", "../secret.md", "link", "/etc/passwd", "..", ".", "", "\0"):
        assert runbooks.named(name) == []
        assert runbooks.for_alert({"alertname": name}, {"runbook_url": f"file:///{name}"}) is None


def test_the_files_of_a_mounted_config_map_are_read_once(tmp_path: Path) -> None:
    root = folder(tmp_path, {"..2026_01_05/A.md": "# A"})
    (root / "..data").symlink_to("..2026_01_05")
    (root / "A.md").symlink_to("..data/A.md")
    runbooks = load(root)
    assert ([r.name for r in runbooks.all], runbooks.problems) == (["A"], ())


def test_a_file_that_cannot_be_read_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    root = folder(tmp_path, {"A.md": "# A"})
    (root / "latin.md").write_bytes(b"# caf\xe9")
    (root / "large.md").write_bytes(b"x" * (MAX_BYTES + 1))
    os.mkfifo(root / "pipe.md")
    runbooks = load(root)
    assert [r.name for r in runbooks.all] == ["A"]
    assert {Path(p.file).name: p.what for p in runbooks.problems} == {
        "latin.md": "not UTF-8: byte 5 is 0xe9",
        "large.md": "larger than 1 MiB: not read",
        "pipe.md": "not a regular file: not read",
    }


LEAST = "route: {receiver: log}\nreceivers: [{name: log}]\n"


@pytest.mark.parametrize(
    ("rule", "config", "names", "problem"),
    [
        ("relative to the config", "runbooks: {path: books}\n", ["A"], None),
        ("the default need not be there", "", [], None),
        (
            "what is named must be",
            "runbooks: {path: nope}\n",
            [],
            r".*alertbot.yml:3: runbooks.path: .*nope: No such .*",
        ),
        (
            "a bad pattern",
            "runbooks: {path: books, url: '{{ x }}'}\n",
            ["A"],
            r".*alertbot.yml:3: runbooks.url: not a .*",
        ),
    ],
)
def test_a_configs_runbooks(rule: str, config: str, names: list[str], problem: str | None, tmp_path: Path) -> None:
    folder(tmp_path, {"books/A.md": "# A", "alertbot.yml": LEAST + config})
    runbooks = runbooks_of(load_config(tmp_path / "alertbot.yml", {}))
    assert [r.name for r in runbooks.all] == names, rule
    assert len(runbooks.problems) == (problem is not None)
    assert not problem or re.fullmatch(problem, str(runbooks.problems[0])), runbooks.problems


# Search.


@pytest.fixture(scope="module")
def shipped() -> Runbooks:
    return load(data_dir("runbooks"))


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("high error rate", "HighErrorRate"),
        ("HighErrorRate", "HighErrorRate"),
        ("higherorrate", "HighErrorRate"),  # a letter left out
        ("hihg erorr rate", "HighErrorRate"),  # swapped
        ("databse conection", "DatabaseDown"),
        ("payement failing", "PaymentFailures"),
        ("smoke test", "SmokeTestsFailing"),
        ("out of memory", "ContainerOOMKilled"),
        ("disk full", "Infrastructure"),
        ("slow query", "SlowQueries"),
        ("error buget", "ErrorBudgetBurn"),
        ("watchdg", "Watchdog"),
        ("alertbot config reload", "AlertbotConfigReloadFailed"),
        ("alertbot_store_up", "AlertbotStoreDown"),
        ("LLM budget", "HighLLMCost"),
    ],
)
def test_a_search_finds_what_was_meant(shipped: Runbooks, query: str, first: str) -> None:
    assert [r.name for r, _ in shipped.search(query)][:1] == [first]


@pytest.mark.parametrize("query", ["", "  ", "!!!", "zzzzqqqq", "\0", "../.."])
def test_a_search_for_nothing_finds_nothing(shipped: Runbooks, query: str) -> None:
    assert shipped.search(query) == []


@pytest.mark.parametrize(
    ("a", "b", "n"),
    [
        ("database", "database", 0),
        ("databse", "database", 1),
        ("databsae", "database", 1),
        ("dattabase", "database", 1),
        ("dotabose", "database", 2),
        ("abcdefgh", "database", 3),
        ("", "ab", 2),
    ],
)
def test_typos_are_counted_up_to_a_bound(a: str, b: str, n: int) -> None:
    assert typos(a, b, 2) == typos(b, a, 2) == n


def test_hundreds_of_runbooks_are_searched_in_milliseconds() -> None:
    """Bounded by what the same machine needs for something known, so that a busy one fails no one."""
    texts = [r.body for r in load(data_dir("runbooks")).all]
    many = {
        f"Alert{i}": FRONT.format(alerts=f"[Alert{i}]")
        + re.sub(r"\b(\w{6})\w*", rf"\g<1>{i % 40}", texts[i % len(texts)])
        for i in range(600)
    }
    runbooks = of(many)
    runbooks.search("warm")

    def best(work: Callable[[], Any]) -> float:
        times = []
        for _ in range(7):
            start = time.process_time()
            work()
            times.append(time.process_time() - start)
        return min(times)

    yardstick = best(lambda: [i * i for i in range(100_000)])  # about 5 ms
    assert best(lambda: runbooks.search("databse conection tiemout in produciton")) < 8 * yardstick


# Lint.


def said(files: dict[str, str], **more: Any) -> list[str]:
    return [str(p) for p in lint(of(files), more.get("knows", everything), "high, low")]


def test_a_good_runbook_has_no_problem() -> None:
    assert said({"a": FRONT.format(alerts="[A]"), "b": FRONT.format(alerts="['alertname=A, e=p']")}) == []


def test_what_a_front_matter_lacks_is_named() -> None:
    assert said({"a": "# T\n", "b": FRONT.format(alerts="[]")}) == [
        "a.md:1: it has no first steps to show: a list under a heading such as `First five minutes`",
        "a.md:1: the front matter has no `owner`",
        "a.md:1: the front matter has no `severity`",
        "a.md:1: the front matter has no `title`",
        "a.md:1: the front matter names no `alerts`: it is taken to be for `a`",
        "b.md:3: it is for no alert: `alerts` names none",
    ]


def test_a_severity_that_the_config_does_not_know_is_named() -> None:
    (line,) = said({"a": FRONT.format(alerts="[A]")}, knows=lambda word: word == "low")
    assert line == "a.md:4: unknown severity `high`: known are high, low"


def test_two_runbooks_for_one_alert_are_named() -> None:
    assert said({"a": FRONT.format(alerts="[A]"), "b": FRONT.format(alerts="[a]")}) == [
        "b.md:3: `a` has a runbook already: a.md"
    ]


@pytest.mark.parametrize(
    ("rule", "text", "dead"),
    [
        ("a file beside it", "[x](b.md) [x](./b.md) [x](b)", None),
        ("a heading of it", "[x](b.md#first-steps)", None),
        ("a heading of its own", "[x](#first-steps)", None),
        ("a file below, and one above", "[x](sub/c.md)", None),
        ("elsewhere", "[x](https://a.b/c) [x](mailto:a@b) [x](/abs) [x](../../out.md)", None),
        ("code is no link", "`[x](nope.md)`\n\n```\n[x](nope.md)\n```\n", None),
        ("no file", "[x](nope.md)", "there is no `nope.md` here"),
        ("a typo", "[x](sub/d.md)", "there is no `sub/d.md` here: did you mean `sub/c.md`?"),
        ("no heading", "[x](b.md#mend)", "`b` has no heading `#mend`"),
        ("not its own", "[x](#frist-steps)", "`a` has no heading `#frist-steps`: did you mean `first-steps`?"),
        ("a reference", "[x][y]\n\n[y]: nope.md\n", "there is no `nope.md` here"),
        ("Hugo's way", '[x]({{< ref "./nope.md" >}})', "there is no `nope.md` here"),
    ],
)
def test_links_between_runbooks_must_lead_somewhere(rule: str, text: str, dead: str | None) -> None:
    body = FRONT.format(alerts="[{}]")
    found = said({"a": body.format("A") + "\n" + text, "b": body.format("B"), "sub/c": body.format("C")})
    line = 15 if "\n\n[y]" in text else 13
    assert found == ([f"a.md:{line}: a dead link: {dead}"] if dead else []), rule


def test_our_own_runbooks_are_without_a_problem_and_enough(shipped: Runbooks) -> None:
    words = {"critical", "high", "medium", "low"}
    assert [str(p) for p in lint(shipped, words.__contains__)] == []
    assert len(shipped.all) >= 15
    parts = {"What it means", "Is it true?", "First five minutes", "Mend it", "Escalate"}
    for runbook in shipped.all:
        assert parts <= {s.title for s in runbook.sections}, runbook.name
        assert len(runbook.steps) == MAX_STEPS, runbook.name
        assert "`" in "".join(runbook.steps), f"{runbook.name}: first steps have commands"
        assert not any(s.endswith("…") for s in runbook.steps), f"{runbook.name}: a step is too long to be shown"


@pytest.mark.parametrize(
    "alertname",
    [
        "HighErrorRate",
        "HighLatency",
        "DatabaseConnectionDown",
        "SlowQueries",
        "HighAPILatency",
        "DatabaseDown",
        "HighLLMCost",
        "AgentSuccessRateLow",
        "DailyBudgetExceeded",
        "WorkflowQueueDepth",
        "AgentRunDurationHigh",
        "ServiceDown",
        "GenerationFailures",
        "PaymentFailures",
        "HighMemoryUsage",
        "AlertbotDown",
        "AlertbotNotDelivering",
        "AlertbotParked",
        "AlertbotConfigReloadFailed",
        "AlertbotStoreDown",
        "AlertbotBehind",
        "AlertbotRequestsRefused",
        "Watchdog",
    ],
)
def test_the_usual_alerts_and_alertbots_own_have_a_runbook(shipped: Runbooks, alertname: str) -> None:
    found = shipped.for_alert({"alertname": alertname}, {})
    assert found is not None
    assert found.steps


def test_the_metrics_that_our_runbooks_name_are_ours(shipped: Runbooks) -> None:
    from alertbot.telemetry import Metrics

    ours = {sample.name for metric in Metrics("0").registry.collect() for sample in metric.samples}
    ours |= {metric.name for metric in Metrics("0").registry.collect()}
    ours |= {f"{m.name}_total" for m in Metrics("0").registry.collect() if m.type == "counter"}
    ours |= {f"{m.name}_bucket" for m in Metrics("0").registry.collect() if m.type == "histogram"}
    for runbook in shipped.all:
        for name in re.findall(r"\balertbot_[a-z_]+[a-z]\b(?!\()", runbook.body):
            assert name in ours, f"{runbook.name}: {name}"


# Published rules and runbooks.


def test_each_published_rule_finds_its_published_runbook_if_there_is_one(corpus: Path) -> None:
    runbooks = load(corpus / "runbooks")
    files = {p.stem.lower(): p for p in (corpus / "runbooks").rglob("*.md") if not p.name.startswith("_")}
    assert len(runbooks.all) == len(files) == 108
    counts: Counter[bool] = Counter()
    rules = [json.loads(line) for line in (corpus / "rules_kube_prometheus.jsonl").read_text().splitlines()]
    for rule in rules:
        labels = {**rule["labels"], "alertname": rule["alert"]}
        found = runbooks.for_alert(labels, rule["annotations"])
        there = files.get(rule["alert"].lower())
        assert found is not None, "each of them has a link"
        assert found.url == rule["annotations"]["runbook_url"]
        assert (found.name.rpartition("/")[2].lower() == rule["alert"].lower()) == (there is not None), rule["alert"]
        assert bool(found.name) == (there is not None), rule["alert"]
        assert runbooks.find(labels) == runbooks.find(labels, rule["annotations"]), "the name alone is enough"
        counts[there is not None] += 1
    assert counts == {True: 112, False: 27}


def test_published_runbooks_show_their_first_steps_and_their_links_hold(corpus: Path) -> None:
    runbooks = load(corpus / "runbooks")
    assert runbooks.problems == ()
    assert {r.name.rpartition("/")[2] for r in runbooks.all if not r.steps} == {
        "NodeRAIDDiskFailure",  # "See …" and a TODO
        "PrometheusOutOfOrderTimestamps",
    }
    problems = [p.what for p in lint(runbooks, everything)]
    assert not any("dead link" in p for p in problems), "also those in Hugo's way"
    assert problems.count("the front matter has no `title`") == 8
