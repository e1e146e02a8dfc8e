"""Slack's rules, asked with slack_sdk's own client."""

import json
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from slack_sdk.errors import SlackApiError
from slack_sdk.signature import Clock as SignatureClock
from slack_sdk.signature import SignatureVerifier
from slack_sdk.web.async_client import AsyncWebClient

from tests.sources.recorded import CORPUS
from tests.standins.process import StandinProcess
from tests.standins.slack import SlackStandin
from tests.standins.slack_rules import COMMON, ERRORS, UNLISTED
from tests.standins.slack_user import SlackUser, sign

LISTS = CORPUS / "slack_method_errors"
BUTTON = {
    "type": "button",
    "action_id": "acknowledge",
    "value": "i1",
    "text": {"type": "plain_text", "text": "Acknowledge"},
}
CARD: list[dict[str, Any]] = [
    {"type": "section", "text": {"type": "mrkdwn", "text": "*High error rate*"}},
    {"type": "actions", "block_id": "do", "elements": [BUTTON]},
]
LONG = {"type": "section", "text": {"type": "mrkdwn", "text": "x" * 2_700}}
META = {"event_type": "alertbot_incident", "event_payload": {"incident": "i1"}}


class MovedClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
async def slack(clock: MovedClock) -> AsyncIterator[SlackStandin]:
    async with SlackStandin(clock=clock) as standin:
        yield standin


@pytest.fixture
def client(slack: SlackStandin) -> AsyncWebClient:
    return AsyncWebClient(token=slack.token, base_url=slack.api_url, retry_handlers=[])


async def refusal(call: Awaitable[Any]) -> str:
    with pytest.raises(SlackApiError) as refused:
        await call
    return str(refused.value.response["error"])


async def test_a_message_is_posted_by_name_updated_by_id_and_found_again_with_its_metadata(
    slack: SlackStandin, client: AsyncWebClient
) -> None:
    posted = await client.chat_postMessage(channel="#ops-alerts", text="down", blocks=CARD, metadata=META)
    channel, ts = posted["channel"], posted["ts"]
    assert channel.startswith("C")
    assert ts == "1800000000.000000"
    await client.chat_update(channel=channel, ts=ts, text="still down", blocks=CARD)
    found = (await client.conversations_history(channel=channel, include_all_metadata=True))["messages"]
    assert [(m["text"], m["metadata"]["event_payload"]) for m in found] == [("still down", {"incident": "i1"})]
    assert "metadata" not in (await client.conversations_history(channel=channel))["messages"][0]
    assert slack.messages("ops-alerts") == [{**found[0]}]


async def test_an_update_with_text_alone_removes_the_buttons(slack: SlackStandin, client: AsyncWebClient) -> None:
    posted = await client.chat_postMessage(channel="#ops-alerts", text="down", blocks=CARD)
    await client.chat_update(channel=posted["channel"], ts=posted["ts"], text="still down")
    assert "blocks" not in slack.messages("#ops-alerts")[0]
    assert "blocks" in slack.calls("chat.postMessage")[0].reply["message"]  # what was answered then, stays


async def test_no_two_messages_share_a_ts(slack: SlackStandin, client: AsyncWebClient) -> None:
    for _ in range(3):
        await client.chat_postMessage(channel="#ops-alerts", text="x")
    assert len({m["ts"] for m in slack.messages("#ops-alerts")}) == 3


REFUSED_POSTS = [
    # the rule, what is posted, and the error
    ("the channel has to exist", {"channel": "#nowhere", "text": "x"}, "channel_not_found"),
    ("the bot has to be in it", {"channel": "#general", "text": "x"}, "not_in_channel"),
    ("it must not be archived", {"channel": "#old", "text": "x"}, "is_archived"),
    ("a private one is not there", {"channel": "#secret", "text": "x"}, "channel_not_found"),
    ("there has to be something to say", {"channel": "#ops-alerts"}, "no_text"),
    ("blocks are a list", {"channel": "#ops-alerts", "blocks": "{nonsense"}, "invalid_blocks_format"),
    ("blocks are blocks", {"channel": "#ops-alerts", "blocks": [{"type": "pie"}]}, "invalid_blocks"),
    (
        "all blocks together near 13,200 characters are too long",
        {"channel": "#ops-alerts", "blocks": [LONG] * 5},
        "msg_blocks_too_long",
    ),
    (
        "metadata has a type and a payload",
        {"channel": "#ops-alerts", "text": "x", "metadata": {"event_type": "a"}},
        "invalid_metadata_format",
    ),
    (
        "metadata has a limit",
        {"channel": "#ops-alerts", "text": "x", "metadata": META | {"event_payload": {"b": "c" * 9000}}},
        "metadata_too_large",
    ),
    (
        "a thread hangs on a message that is there",
        {"channel": "#ops-alerts", "text": "x", "thread_ts": "1.000001"},
        "cannot_reply_to_message",
    ),
    (
        "no more than a hundred attachments",
        {"channel": "#ops-alerts", "text": "x", "attachments": [{"text": "y"}] * 101},
        "too_many_attachments",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("post", "error"), [row[1:] for row in REFUSED_POSTS], ids=[r[0] for r in REFUSED_POSTS])
@pytest.mark.filterwarnings("ignore:The top-level `text` argument")  # slack_sdk's advice; the server decides
async def test_a_post_is_refused(slack: SlackStandin, client: AsyncWebClient, post: dict[str, Any], error: str) -> None:
    slack.workspace.add_channel("old", is_archived=True)
    slack.workspace.add_channel("secret", is_private=True, is_member=False)
    assert await refusal(client.chat_postMessage(**post)) == error
    assert slack.messages("#ops-alerts") == []


async def test_what_is_wrong_with_blocks_is_said_with_its_place(client: AsyncWebClient) -> None:
    with pytest.raises(SlackApiError) as refused:
        await client.chat_postMessage(channel="#ops-alerts", text="x", blocks=[{"type": "header"}])
    said = refused.value.response["response_metadata"]["messages"]
    assert said == ["[ERROR] must provide an object [json-pointer:/blocks/0/text]"]


async def test_a_long_text_is_cut_in_a_post_and_refused_in_an_update(
    slack: SlackStandin, client: AsyncWebClient
) -> None:
    posted = await client.chat_postMessage(channel="#ops-alerts", text="x" * 41_000)
    assert len(slack.messages("#ops-alerts")[0]["text"]) == 40_000
    update = client.chat_update(channel=posted["channel"], ts=posted["ts"], text="x" * 4_001)
    assert await refusal(update) == "msg_too_long"


async def test_an_update_is_refused_where_the_message_is_gone_or_not_ours_or_too_old(
    slack: SlackStandin, client: AsyncWebClient, clock: MovedClock
) -> None:
    posted = await client.chat_postMessage(channel="#ops-alerts", text="x")
    channel, ts = posted["channel"], posted["ts"]
    by_name = client.chat_update(channel="#ops-alerts", ts=ts, text="y")
    assert await refusal(by_name) == "channel_not_found"  # an update takes an id only
    assert await refusal(client.chat_update(channel=channel, ts="1.0", text="y")) == "message_not_found"
    theirs = slack.workspace.say("#ops-alerts", slack.workspace.user("alice"), "hello")
    assert await refusal(client.chat_update(channel=channel, ts=theirs["ts"], text="y")) == "cant_update_message"
    assert await refusal(client.chat_delete(channel=channel, ts=theirs["ts"])) == "cant_delete_message"
    slack.edit_window = 60
    clock.now += 61
    assert await refusal(client.chat_update(channel=channel, ts=ts, text="y")) == "edit_window_closed"
    slack.workspace.channels[channel].is_archived = True
    assert await refusal(client.chat_update(channel=channel, ts=ts, text="y")) == "is_inactive"


async def test_tokens_and_scopes_are_checked(slack: SlackStandin, client: AsyncWebClient) -> None:
    wrong = AsyncWebClient(token="xoxb-other", base_url=slack.api_url, retry_handlers=[])
    none = AsyncWebClient(base_url=slack.api_url, retry_handlers=[])
    assert await refusal(wrong.auth_test()) == "invalid_auth"
    assert await refusal(none.auth_test()) == "not_authed"
    assert (await client.auth_test())["bot_id"] == slack.workspace.bot_id
    slack.scopes = {"channels:read"}
    assert await refusal(client.chat_postMessage(channel="#ops-alerts", text="x")) == "missing_scope"
    slack.token_error = "token_revoked"
    assert await refusal(client.auth_test()) == "token_revoked"


async def test_posts_are_limited_per_channel_to_one_a_second_after_a_burst(
    client: AsyncWebClient, clock: MovedClock
) -> None:
    for _ in range(3):
        await client.chat_postMessage(channel="#ops-alerts", text="x")
    with pytest.raises(SlackApiError) as refused:
        await client.chat_postMessage(channel="#ops-alerts", text="x")
    answer = refused.value.response
    assert (answer.status_code, answer.headers["Retry-After"], answer["error"]) == (429, "1", "ratelimited")
    await client.chat_postMessage(channel="#dev-alerts", text="x")  # another channel has a limit of its own
    clock.now += 1
    await client.chat_postMessage(channel="#ops-alerts", text="x")
    assert await refusal(client.chat_postMessage(channel="#ops-alerts", text="x")) == "ratelimited"


async def test_updates_are_limited_to_fifty_a_minute_in_the_whole_workspace(
    client: AsyncWebClient, clock: MovedClock
) -> None:
    places = [await client.chat_postMessage(channel=name, text="x") for name in ("#ops-alerts", "#dev-alerts")]
    for number in range(50):
        place = places[number % 2]
        await client.chat_update(channel=place["channel"], ts=place["ts"], text=f"{number}")
    last = {"channel": places[0]["channel"], "ts": places[0]["ts"], "text": "one too many"}
    with pytest.raises(SlackApiError) as refused:
        await client.chat_update(**last)
    assert refused.value.response.headers["Retry-After"] == "60"
    clock.now += 60
    await client.chat_update(**last)


async def test_history_is_newest_first_in_pages_and_bounded_by_ts(
    slack: SlackStandin, client: AsyncWebClient, clock: MovedClock
) -> None:
    ids = []
    for number in range(5):
        ids.append((await client.chat_postMessage(channel="#ops-alerts", text=f"{number}"))["ts"])
        clock.now += 2
    channel = slack.workspace.find("#ops-alerts")
    assert channel is not None
    await client.chat_postMessage(channel=channel.id, text="a reply", thread_ts=ids[0])
    first = await client.conversations_history(channel=channel.id, limit=2)
    assert ([m["text"] for m in first["messages"]], first["has_more"]) == (["4", "3"], True)
    cursor = first["response_metadata"]["next_cursor"]
    rest = await client.conversations_history(channel=channel.id, limit=3, cursor=cursor)
    assert ([m["text"] for m in rest["messages"]], rest["has_more"]) == (["2", "1", "0"], False)
    assert rest["messages"][-1]["reply_count"] == 1
    after = await client.conversations_history(channel=channel.id, oldest=ids[3])
    assert [m["text"] for m in after["messages"]] == ["4"]
    between = await client.conversations_history(channel=channel.id, oldest=ids[1], latest=ids[3], inclusive=True)
    assert [m["text"] for m in between["messages"]] == ["3", "2", "1"]
    thread = await client.conversations_replies(channel=channel.id, ts=ids[0])
    assert [m["text"] for m in thread["messages"]] == ["0", "a reply"]


async def test_a_bot_joins_a_public_channel_and_then_posts(slack: SlackStandin, client: AsyncWebClient) -> None:
    listed = (await client.conversations_list())["channels"]
    general = next(c["id"] for c in listed if c["name"] == "general")
    assert await refusal(client.chat_postMessage(channel=general, text="x")) == "not_in_channel"
    await client.conversations_join(channel=general)
    await client.chat_postMessage(channel=general, text="x")
    assert (await client.conversations_info(channel=general))["channel"]["is_member"] is True


async def test_people_are_found_by_address_and_written_to(slack: SlackStandin, client: AsyncWebClient) -> None:
    alice = (await client.users_lookupByEmail(email="alice@example.org"))["user"]
    assert (await client.users_info(user=alice["id"]))["user"]["name"] == "alice"
    assert await refusal(client.users_lookupByEmail(email="eve@example.org")) == "users_not_found"
    direct = await client.chat_postMessage(channel=alice["id"], text="for you")
    assert direct["channel"].startswith("D")
    await client.chat_postEphemeral(channel="#ops-alerts", user=alice["id"], text="only you")
    stranger = client.chat_postEphemeral(channel="#ops-alerts", user="U999", text="x")
    assert await refusal(stranger) == "user_not_in_channel"


async def test_a_file_goes_up_in_three_steps(slack: SlackStandin, client: AsyncWebClient) -> None:
    channel = slack.workspace.find("#ops-alerts")
    assert channel is not None
    sent = await client.files_upload_v2(
        channel=channel.id, filename="graph.png", content=b"\x89PNG\r\n", title="Graph", initial_comment="see"
    )
    (message,) = slack.messages("#ops-alerts")
    assert message["files"][0]["title"] == "Graph"
    assert slack.workspace.file_bytes[sent["files"][0]["id"]] == b"\x89PNG\r\n"
    ticket = await client.files_getUploadURLExternal(filename="a", length=3)
    early = client.files_completeUploadExternal(files=[{"id": ticket["file_id"], "title": "a"}])
    assert await refusal(early) == "file_not_found"


async def test_a_post_that_was_done_but_not_told_is_there_twice_when_it_is_repeated(
    slack: SlackStandin, client: AsyncWebClient
) -> None:
    slack.faults.add("done_close", "chat.postMessage")
    with pytest.raises(Exception, match=r"disconnected|reset"):
        await client.chat_postMessage(channel="#ops-alerts", text="x")
    await client.chat_postMessage(channel="#ops-alerts", text="x")
    assert [m["text"] for m in slack.messages("#ops-alerts")] == ["x", "x"]
    assert [(c.outcome, c.handled) for c in slack.requests] == [("done_close", True), ("answered", True)]


@pytest.mark.skipif(not LISTS.is_dir(), reason="the lists of Slack's errors are not on this machine")
def test_every_error_given_here_is_one_that_slack_documents_for_the_method() -> None:
    compared = 0
    for path in LISTS.glob("*.json"):
        documented = set(json.loads(path.read_text())["errors"])
        assert (ERRORS[path.stem] | COMMON) <= documented, path.stem
        assert UNLISTED.isdisjoint(documented), "documented by now: no longer an exception"
        compared += 1
    assert compared >= 7


# the user's side


def test_a_signature_is_the_one_that_slack_documents() -> None:
    vectors = CORPUS / "signature_vectors.json"
    if not vectors.exists():
        pytest.skip("the published signature examples are not on this machine")
    rows = [v for v in json.loads(vectors.read_text()) if v["provider"] == "slack" and v["valid"]]
    assert rows
    for row in rows:
        stamp = float(row["headers"]["X-Slack-Request-Timestamp"])
        assert sign(row["secret"], row["body"].encode(), stamp) == row["headers"]


async def test_a_person_types_a_command_presses_a_button_and_is_answered(
    slack: SlackStandin, client: AsyncWebClient, clock: MovedClock
) -> None:
    came: list[tuple[str, dict[str, Any]]] = []
    modal = {"type": "modal", "title": {"type": "plain_text", "text": "Note"}, "blocks": []}

    async def bot(request: web.Request) -> web.Response:
        verifier = SignatureVerifier("shh", clock=_Still(clock))
        if not verifier.is_valid_request(await request.read(), dict(request.headers)):
            return web.Response(status=401)
        form = {name: str(value) for name, value in (await request.post()).items()}
        came.append((request.path, json.loads(form["payload"]) if "payload" in form else form))
        return web.json_response({"text": "here you are"})

    app = web.Application()
    app.router.add_post("/{path:.*}", bot)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        bot_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        alice = SlackUser(bot_url, slack.url, "shh", clock=clock)
        answer = await alice.slash("/runbook", "high error rate")
        assert (answer.status, answer.body) == (200, {"text": "here you are"})
        posted = await client.chat_postMessage(channel="#ops-alerts", text="down", blocks=CARD)
        await alice.press("#ops-alerts", posted["ts"], "acknowledge")
        with pytest.raises(LookupError):
            await alice.press("#ops-alerts", posted["ts"], "resolve")
        assert (await SlackUser(bot_url, slack.url, "wrong", clock=clock).slash("/runbook")).status == 401
    finally:
        await runner.cleanup()
    (_, command), (_, press) = came
    assert (command["command"], command["text"]) == ("/runbook", "high error rate")
    assert press["actions"][0]["value"] == "i1"
    assert press["actions"][0]["block_id"] == "do"
    assert press["message"]["text"] == "down"
    await client.views_open(trigger_id=press["trigger_id"], view=modal)
    again = client.views_open(trigger_id=press["trigger_id"], view=modal)
    assert await refusal(again) == "exchanged_trigger_id"
    clock.now += 4
    late = client.views_open(trigger_id=command["trigger_id"], view=modal)
    assert await refusal(late) == "expired_trigger_id"


async def test_a_response_url_takes_five_answers_in_thirty_minutes(slack: SlackStandin, clock: MovedClock) -> None:
    given = slack.workspace.interaction(slack.url, "#ops-alerts", None)
    response_id = given["response_url"].rsplit("/", 1)[1]
    statuses = [slack.workspace.respond(response_id, {"text": "x"}).status for _ in range(6)]
    assert statuses == [200] * 5 + [404]
    other = slack.workspace.interaction(slack.url, "#ops-alerts", None)["response_url"].rsplit("/", 1)[1]
    clock.now += 1801
    assert slack.workspace.respond(other, {"text": "x"}).status == 404


class _Still(SignatureClock):
    def __init__(self, clock: MovedClock) -> None:
        self.clock = clock

    def now(self) -> float:
        return self.clock()


async def test_in_a_process_of_its_own_it_keeps_its_messages_over_a_crash_and_a_person_presses_on(
    tmp_path: Path,
) -> None:
    async with StandinProcess("slack", state=tmp_path / "slack.json") as process:
        client = AsyncWebClient(token="xoxb-stand-in", base_url=f"{process.url}/api/", retry_handlers=[])
        posted = await client.chat_postMessage(channel="#ops-alerts", text="x", blocks=CARD, metadata=META)
        await process.kill()
        await process.start()
        found = await client.conversations_history(channel=posted["channel"], include_all_metadata=True)
        assert [m["metadata"] for m in found["messages"]] == [META]
        again = await client.chat_postMessage(channel="#ops-alerts", text="y")
        assert float(again["ts"]) > float(posted["ts"])
        nobody = SlackUser("http://127.0.0.1:9", process.url, "shh")
        assert (await nobody.press("#ops-alerts", posted["ts"], "acknowledge")).status is None
        state = await process.state()
        assert len(state["kept"]["channels"][posted["channel"]]["messages"]) == 2
