"""Runbooks: a folder of Markdown files whose front matter says which alerts they are for.

```
---
title: Many requests fail
alerts:                                        # upper and lower case are one
  - HighErrorRate                              # a name
  - Http*Errors                                # `*` stands for any text
  - alertname=~"Api(Down|Slow)", team="web"    # matchers, in Alertmanager's syntax
severity: critical
owner: platform
dashboards: [https://grafana.example.org/d/api]
---
```

A file without `alerts` is for the alert that it is called after. Everything is read once, when the folder is loaded:
no name that anybody asks for becomes a path.

model → text → steps, search → folder → lint: each file knows those before it.
"""

from alertbot.enrich.runbooks.folder import (
    MAX_BYTES,
    Runbooks,
    folder_of,
    load,
    parse,
    runbooks_of,
    slug_of,
    url_problem,
)
from alertbot.enrich.runbooks.lint import lint
from alertbot.enrich.runbooks.model import Runbook
from alertbot.enrich.runbooks.search import typos
from alertbot.enrich.runbooks.steps import MAX_STEP, MAX_STEPS
from alertbot.enrich.runbooks.text import plain

__all__ = [
    "MAX_BYTES",
    "MAX_STEP",
    "MAX_STEPS",
    "Runbook",
    "Runbooks",
    "folder_of",
    "lint",
    "load",
    "parse",
    "plain",
    "runbooks_of",
    "slug_of",
    "typos",
    "url_problem",
]
