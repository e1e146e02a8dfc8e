"""The Slack app that a config needs: its manifest, and the scopes of its bot.

[docs: App manifests reference] The manifest is pasted at https://api.slack.com/apps, "From a manifest".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from alertbot.commands import commands
from alertbot.config.models import Settings

#: What each scope is for. Those for private channels are of use only where there is one.
SCOPES: Final[Mapping[str, str]] = {
    "chat:write": "post and edit cards",
    "channels:read": "find a channel by its name",
    "channels:history": "find a card that may be there already, before posting a second one",
    "channels:join": "join a public channel by itself",
    "commands": "take slash commands",
    "users:read": "know who acts",
    "users:read.email": "know who that is in PagerDuty",
}
PRIVATE: Final[Mapping[str, str]] = {
    "groups:read": "find a private channel by its name",
    "groups:history": "find a card in a private channel, before posting a second one",
}
GROUPS: Final[Mapping[str, str]] = {"usergroups:read": "know who is in the user groups of slack.may_act"}
#: The scope of the app token, which the manifest cannot ask for.
APP_SCOPE: Final = "connections:write"


def scopes(settings: Settings) -> dict[str, str]:
    """The bot's scopes that a config cannot do without, and what for."""
    by_group = any(a.startswith("S") and "@" not in a for a in settings.slack.may_act or ())
    return {**SCOPES, **(GROUPS if by_group else {})}


def manifest(settings: Settings, url: str | None) -> dict[str, Any]:
    """The manifest. `url` is where Slack reaches us, with a slash at its end; None: over Socket Mode."""
    typed = [
        {
            "command": f"/{c.name}",
            "description": c.summary,
            "usage_hint": c.hint,
            # <@U…> in the place of @somebody: a name alone does not say who that is.
            "should_escape": True,
            **({"url": f"{url}slack/commands"} if url is not None else {}),
        }
        for c in commands().values()
    ]
    pressed = {"is_enabled": True, **({"request_url": f"{url}slack/interactions"} if url is not None else {})}
    return {
        "display_information": {"name": "alertbot", "description": "Incidents: who has them, and what to do"},
        "features": {
            "bot_user": {"display_name": "alertbot", "always_online": True},
            "slash_commands": typed,
        },
        "oauth_config": {"scopes": {"bot": sorted({**scopes(settings), **PRIVATE})}},
        "settings": {
            "interactivity": pressed,
            "org_deploy_enabled": False,
            "socket_mode_enabled": url is None,
            "token_rotation_enabled": False,
        },
    }
