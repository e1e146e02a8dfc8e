"""Stand-ins for the providers alertbot talks to: servers on loopback that hold the providers' real rules.

Each is a specification: where a rule comes from is said beside it, with the marks of our field notes
([docs] the vendor's documentation, [src] read in a source, [mem] not confirmed).

    async with SlackStandin() as slack:          # in the test's own event loop
        client = AsyncWebClient(token=slack.token, base_url=slack.api_url, retry_handlers=[])

    async with StandinProcess("slack", state=tmp_path / "slack.json") as slack:   # outlives a killed bot
        await slack.add_fault(Fault("done_close", "chat.postMessage"))
"""
