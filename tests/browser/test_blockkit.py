"""The page that shows people what a card looks like draws all of a card, and as text."""

from __future__ import annotations

from alertbot.commands import views
from alertbot.notifiers.slack_blocks import Renderer
from tests.browser.blockkit import page
from tests.notifiers.jobs import NASTY, alert, job


def test_every_block_of_a_card_is_drawn_and_labels_are_text() -> None:
    card = Renderer(["<@U0123456>"]).card(job(alerts=[alert(1, annotations={"summary": NASTY}), alert(2)]))
    drawn = page({"blocks": card.blocks})
    assert "2 % of requests fail" in drawn
    assert "<a href='https://runbooks.example.org/x'>Runbook</a>" in drawn
    assert "<code>service=api</code>" in drawn
    assert "<script>" not in drawn


def test_a_dialog_is_drawn_with_what_it_asks_for() -> None:
    drawn = page(views.silence_dialog(job().incident, "{}"))
    assert "For how long?" in drawn
    assert drawn.index("◉") < drawn.index("1 hour") < drawn.index("○")
