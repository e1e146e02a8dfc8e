"""A Slack message as a page, near enough to look at: Block Kit as HTML at the width that Slack gives a message.

For people, to see what a card looks like: `python -m tests.browser.blockkit card.json > card.html`. What Slack takes
and what is alive in a message is the business of `tests.standins`.
"""

from __future__ import annotations

import html
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

#: Slack shows a message no wider than this, in pixels.
WIDTH: Final = 600

_STYLE: Final = """
body { margin: 0; background: #fff; color: #1d1c1d; font: 15px/1.46668 Slack-Lato, Lato, 'DejaVu Sans', sans-serif; }
.message { width: %dpx; padding: 12px 20px; overflow-wrap: anywhere; }
.text { white-space: pre-wrap; } .section { margin: 8px 0; }
.header { font-size: 18px; font-weight: 900; margin: 4px 0; }
.context { margin: 8px 0; font-size: 12px; color: #616061; } .context > span { margin-right: 8px; }
.actions { margin: 8px 0; } button { font: inherit; font-weight: 700; font-size: 13px; height: 28px; padding: 0 10px;
margin: 0 6px 6px 0; border: 1px solid #bbb; border-radius: 8px; background: #fff; }
.primary { background: #007a5a; color: #fff; } .danger { background: #e01e5a; color: #fff; }
code { border: 1px solid #ddd; border-radius: 3px; background: #f8f8f8; color: #e01e5a; font-size: 12px; }
a { color: #1264a3; text-decoration: none; } hr { border: 0; border-top: 1px solid #ddd; }
"""


def page(message: Mapping[str, Any]) -> str:
    """The whole page of one message."""
    blocks = "".join(_block(block) for block in message["blocks"])
    style = _STYLE % WIDTH
    return f"<!doctype html><meta charset=utf-8><style>{style}</style><div class=message>{blocks}</div>"


def _block(block: Mapping[str, Any]) -> str:
    match block["type"]:
        case "header" | "section" as kind:
            parts = [block["text"]] if "text" in block else []
            return f"<div class={kind}>{''.join(map(_text, [*parts, *block.get('fields', [])]))}</div>"
        case "context":
            return f"<div class=context>{''.join(f'<span>{_text(e)}</span>' for e in block['elements'])}</div>"
        case "actions":
            return f"<div class=actions>{''.join(map(_button, block['elements']))}</div>"
        case "input":
            return f"<div class=section><b>{_text(block['label'])}</b><br>{_input(block['element'])}</div>"
        case "divider":
            return "<hr>"
    raise LookupError(f"a block that is not drawn here yet: {block['type']}")


def _input(element: Mapping[str, Any]) -> str:
    """What a dialog asks for: a choice, or an empty field."""
    if element["type"] == "radio_buttons":
        chosen = element.get("initial_option")
        return "<br>".join(("◉ " if o == chosen else "○ ") + _text(o["text"]) for o in element["options"])
    rows = 4 if element.get("multiline") else 1
    hint = html.escape(element.get("placeholder", {}).get("text", ""))
    return f"<textarea rows={rows} cols=60 placeholder='{hint}'></textarea>"


def _button(element: Mapping[str, Any]) -> str:
    return f"<button class='{element.get('style', '')}'>{_text(element.get('text') or element['placeholder'])}</button>"


def _text(text: Mapping[str, Any]) -> str:
    words = text["text"]
    if text["type"] == "plain_text":
        return f"<span class=text>{html.escape(words)}</span>"
    words = re.sub(r"<(https?:[^|>]+)\|([^>]+)>", r"<a href='\1'>\2</a>", words)
    words = re.sub(r"`([^`]+)`", r"<code>\1</code>", words)
    return f"<span class=text>{words}</span>"


if __name__ == "__main__":
    sys.stdout.write(page(json.loads(Path(sys.argv[1]).read_text())))
