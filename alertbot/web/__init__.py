"""The door (webhooks in), the API, and the pages."""

from alertbot.web.app import make_app, make_runner
from alertbot.web.ports import Bot, DryDestination, ReloadRefused, View

__all__ = ["Bot", "DryDestination", "ReloadRefused", "View", "make_app", "make_runner"]
