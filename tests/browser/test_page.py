"""The page in a real browser: what is open, one incident's story, and that no label can do anything to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final, Literal

import pytest
from playwright.async_api import Browser, Page, async_playwright

from tests.acceptance.bot import ENVIRON, Bot

pytestmark = pytest.mark.real("chromium")

PHONE: Final = {"width": 390, "height": 844}
DESK: Final = {"width": 1280, "height": 900}
EVIL: Final = "<script>document.title='owned'</script><img src=x onerror=alert(1)> <!channel>"
Scheme = Literal["light", "dark"]


@pytest.fixture
async def bot(tmp_path: Path) -> AsyncIterator[Bot]:
    async with Bot(tmp_path) as running:
        yield running


@pytest.fixture
async def browser(real_server: Callable[[str], Path]) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        # No sandbox: the tests may run as root, where Chromium has none.
        browser = await playwright.chromium.launch(
            executable_path=real_server("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        await browser.close()


class Visit:
    """A page, and what the browser complained of."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("requestfailed", lambda request: self.complaints.append(request.url))

    async def overflow(self) -> int:
        """How many pixels the page is wider than the window."""
        wider: int = await self.page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        return wider


async def visit(browser: Browser, bot: Bot, path: str, size: dict[str, int], scheme: Scheme = "light") -> Visit:
    context = await browser.new_context(
        viewport={"width": size["width"], "height": size["height"]},
        color_scheme=scheme,
        http_credentials={"username": "x", "password": ENVIRON["ALERTBOT_API_TOKEN"]},
    )
    found = Visit(await context.new_page())
    answer = await found.page.goto(bot.url + path)
    assert answer is not None
    assert answer.status == 200
    return found


@pytest.mark.parametrize("size", [PHONE, DESK])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_what_is_open_is_listed_and_leads_to_its_story(
    bot: Bot, browser: Browser, size: dict[str, int], scheme: Scheme
) -> None:
    await bot.fire(bot.alert("Down", host="a" * 300), bot.alert("Slow", "high"))
    await bot.advance("10s")
    seen = await visit(browser, bot, "/", size, scheme)
    titles = await seen.page.locator("a.title").all_inner_texts()
    assert [title.split()[0] for title in titles] == ["Down", "Slow"], "the most urgent first"
    assert await seen.overflow() == 0
    await seen.page.locator("a.title").first.click()
    story = await seen.page.locator("body").inner_text()
    assert "pagerduty" in story
    assert "#critical-alerts" in story
    incident = await bot.incident("Down")
    entries = (await bot.get(f"/api/v1/incidents/{incident['id']}/timeline"))["entries"]
    assert {entry["reason"] for entry in entries} >= {"new_episode", "first_notification"}
    assert [entry["text"] for entry in entries if entry["text"] not in story] == [], "every decision with its reason"
    assert await seen.overflow() == 0
    assert seen.complaints == []


async def test_dark_is_dark_and_light_is_light(bot: Bot, browser: Browser) -> None:
    shades = []
    for scheme in ("light", "dark"):
        seen = await visit(browser, bot, "/", DESK, "dark" if scheme == "dark" else "light")
        colour: str = await seen.page.evaluate("getComputedStyle(document.body).backgroundColor")
        shades.append(sum(int(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3]))
    assert shades[0] > 600
    assert shades[1] < 200


async def test_a_label_is_text_and_nothing_else(bot: Bot, browser: Browser) -> None:
    await bot.fire(bot.alert("Down", host=EVIL))
    incident = await bot.incident("Down")
    for path in ("/", f"/incidents/{incident['id']}"):
        seen = await visit(browser, bot, path, DESK)
        assert await seen.page.title() != "owned"
        assert await seen.page.locator("script, img[src='x']").count() == 0
        assert seen.complaints == []
        if path != "/":
            assert EVIL in await seen.page.locator("body").inner_text(), "it is shown as it was sent"


async def test_a_destination_that_does_not_answer_is_on_the_page(bot: Bot, browser: Browser) -> None:
    bot.pagerduty.faults.add("answer", status=503, times=None)
    await bot.fire(bot.alert("Down"))
    await bot.advance("1m")
    seen = await visit(browser, bot, "/", PHONE)
    assert "pagerduty pagerduty does not answer" in await seen.page.locator("body").inner_text()
    assert await seen.overflow() == 0
    bot.pagerduty.faults.clear()
    await bot.advance("1m")
    seen = await visit(browser, bot, "/", PHONE)
    assert "does not answer" not in await seen.page.locator("body").inner_text()
