"""Reads a message as Slack would show it, and lists what in it is alive: mentions, links, specials.

Slack's rule [docs]: only & < > are escaped, and what stands between < and > is markup: `<@U..>` a user,
`<#C..>` a channel, `<!subteam^S..>` a group, `<!channel> <!here> <!everyone>` all of them, `<!date^..>` a
date, `<scheme:..|words>` a link. `plain_text` objects are not parsed, but for :emoji:. A bare @channel is
parsed only with `link_names` or `parse=full`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_MARKUP = re.compile(r"<([^<>\n]+)>")
_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:")
_BARE = re.compile(r"(?<![\w@])@(channel|here|everyone|group)\b")
_BARE_LINK = re.compile(r"(?<![<|\w])https?://[^\s<>|]+")
_UNESCAPED = re.compile(r"&(?!(?:amp|lt|gt);).{0,10}|[<>].{0,10}", re.DOTALL)
_MARKDOWN_LINK = re.compile(r"\[([^\]\n]*)\]\(([^)\s]+)[^)\n]*\)")


@dataclass(frozen=True, slots=True)
class Mention:
    """Something alive in a text.

    kind: broadcast, user, group, channel, link, date, special; autolink where asked for.
    """

    kind: str
    target: str
    text: str
    where: str

    @property
    def pings(self) -> bool:
        """Whether it notifies somebody."""
        return self.kind in ("broadcast", "user", "group")


def parse_mrkdwn(text: str, where: str = "text") -> Iterator[Mention]:
    """The markup in one mrkdwn text. It counts inside `code` too: Slack resolves it before formatting."""
    for match in _MARKUP.finditer(text):
        target, _, words = match[1].partition("|")
        if target.startswith("@"):
            yield Mention("user", target[1:], words, where)
        elif target.startswith("#"):
            yield Mention("channel", target[1:], words, where)
        elif target.startswith("!subteam^"):
            yield Mention("group", target.removeprefix("!subteam^"), words, where)
        elif target.startswith("!date^"):
            yield Mention("date", target.removeprefix("!date^"), words, where)
        elif target[1:].split("^")[0] in ("channel", "here", "everyone", "group") and target.startswith("!"):
            yield Mention("broadcast", target[1:], words, where)
        elif target.startswith("!"):
            yield Mention("special", target[1:], words, where)
        elif _SCHEME.match(target):
            yield Mention("link", target, words, where)


def texts(message: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Every text that Slack shows: (where, kind, text); kind is mrkdwn, plain_text or markdown.

    The top-level `text` counts although blocks are shown in its place: it is what notifications say.
    """
    if message.get("text"):
        yield "text", "mrkdwn", message["text"]
    for index, block in enumerate(message.get("blocks") or []):
        yield from _texts_in(block, f"blocks/{index}")
    for index, attachment in enumerate(message.get("attachments") or []):
        where = f"attachments/{index}"
        for name in ("fallback", "pretext", "title", "text", "footer", "author_name"):
            if attachment.get(name):
                yield f"{where}/{name}", "mrkdwn", attachment[name]
        for number, item in enumerate(attachment.get("fields") or []):
            for name in ("title", "value"):
                yield f"{where}/fields/{number}/{name}", "mrkdwn", str(item.get(name, ""))
        for number, block in enumerate(attachment.get("blocks") or []):
            yield from _texts_in(block, f"{where}/blocks/{number}")


def _texts_in(node: Any, where: str) -> Iterator[tuple[str, str, str]]:
    if isinstance(node, list):
        for index, item in enumerate(node):
            yield from _texts_in(item, f"{where}/{index}")
    elif isinstance(node, dict):
        kind = node.get("type")
        if kind in ("mrkdwn", "plain_text", "markdown") and isinstance(node.get("text"), str):
            yield f"{where}/text", kind, node["text"]
            return
        for name, item in node.items():
            yield from _texts_in(item, f"{where}/{name}")


def rendered_mentions(message: Mapping[str, Any], *, autolinks: bool = False) -> list[Mention]:
    """Every active mention, link and special of a message (or of chat.postMessage's parameters), in order.

    With `autolinks` also bare URLs, which Slack makes links of in mrkdwn that is not `verbatim`.
    """
    found: list[Mention] = []
    full = message.get("parse") == "full" or message.get("link_names") in (True, 1, "1", "true")
    for where, kind, text in texts(message):
        if kind == "plain_text":
            continue
        found.extend(parse_mrkdwn(text, where))
        if kind == "markdown":
            found.extend(Mention("link", m[2], m[1], where) for m in _MARKDOWN_LINK.finditer(text))
        if full:
            found.extend(Mention("broadcast", m[1], m[0], where) for m in _BARE.finditer(text))
        if autolinks:
            found.extend(Mention("autolink", m[0], m[0], where) for m in _BARE_LINK.finditer(text))
    for index, block in enumerate(message.get("blocks") or []):
        found.extend(_rich(block, f"blocks/{index}"))
    return found


def _rich(node: Any, where: str) -> Iterator[Mention]:
    """The living elements of rich_text blocks: there a mention is an element, never text."""
    if isinstance(node, list):
        for index, item in enumerate(node):
            yield from _rich(item, f"{where}/{index}")
        return
    if not isinstance(node, dict):
        return
    if node.get("type") == "broadcast":
        yield Mention("broadcast", str(node.get("range")), "", where)
    elif node.get("type") == "user" and "user_id" in node:
        yield Mention("user", node["user_id"], "", where)
    elif node.get("type") == "usergroup" and "usergroup_id" in node:
        yield Mention("group", node["usergroup_id"], "", where)
    elif node.get("type") == "channel" and "channel_id" in node:
        yield Mention("channel", node["channel_id"], "", where)
    elif node.get("type") == "link" and "url" in node:
        yield Mention("link", node["url"], node.get("text", ""), where)
    yield from _rich(node.get("elements"), f"{where}/elements")


def unescaped(message: Mapping[str, Any]) -> list[str]:
    """Where mrkdwn text is not escaped, as `where: what`: a bare & or cut entity, a < or > outside markup."""
    found: list[str] = []
    for where, kind, text in texts(message):
        if kind == "mrkdwn":
            bare = "".join(_MARKUP.split(text)[::2])  # what stands outside of markup
            found.extend(f"{where}: {match[0]}" for match in _UNESCAPED.finditer(bare))
            if len(list(parse_mrkdwn(text))) != len(_MARKUP.findall(text)):
                found.append(f"{where}: <> that is no markup")
    return found


def shown(message: Mapping[str, Any]) -> str:
    """All that a reader of the message sees, one text a line, entities resolved and markup as its words."""

    def words(match: re.Match[str]) -> str:
        target, _, label = match[1].partition("|")
        return label or target

    lines = []
    seen = [item for item in texts(message) if item[0] != "text" or not message.get("blocks")]
    for _, kind, text in seen:
        if kind != "plain_text":
            text = _MARKUP.sub(words, text)
            text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
        lines.append(text)
    return "\n".join(lines)
