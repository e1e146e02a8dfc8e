"""`alertbot slack`: what Slack has to know of alertbot."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import click
import yaml

from alertbot.cli.base import CouldNot, cli, config_option, json_option, load_config, print_json, say
from alertbot.commands.manifest import APP_SCOPE, manifest


@cli.group()
def slack() -> None:
    """Set up the Slack app that alertbot speaks through.

    \b
    Example: alertbot slack manifest > manifest.yml
    """


@slack.command("manifest")
@config_option
@click.option("--socket-mode/--http", default=None, help="Without it: Socket Mode if slack_app_token is set.")
@json_option
def slack_manifest(config_file: Path, socket_mode: bool | None, as_json: bool) -> None:
    """The app's manifest: scopes, commands and addresses as this config needs them.

    Paste it at api.slack.com/apps, "Create New App", "From a manifest". Over HTTP Slack calls web.external_url, which
    then has to be reachable from the internet; with Socket Mode alertbot connects to Slack.

    \b
    Example: alertbot slack manifest --socket-mode --config alertbot.yml > manifest.yml
    """
    settings = load_config(config_file).settings
    if socket_mode is None:
        socket_mode = settings.global_.slack_app_token is not None
    url = None if socket_mode else settings.web.external_url
    if url is None and not socket_mode:
        raise CouldNot("Slack needs an address to call: set web.external_url, or use --socket-mode")
    if url is not None and urlsplit(url).scheme != "https":
        say(f"warning: Slack calls https only, and web.external_url is {url}")
    made = manifest(settings, url)
    if as_json:
        print_json(made)
    else:
        click.echo(yaml.safe_dump(made, sort_keys=False, allow_unicode=True), nl=False)
    socket, http = (
        f"an app-level token with {APP_SCOPE} as slack_app_token",
        "the signing secret as slack_signing_secret",
    )
    say(f"then install the app, and give its bot token as slack_bot_token, and {socket if socket_mode else http}")
