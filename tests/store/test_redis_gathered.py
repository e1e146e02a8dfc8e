"""Many steps of one transaction as few commands."""

from __future__ import annotations

from alertbot.store.redis_rows import WORDS, gathered


def test_what_goes_into_one_key_is_one_command_and_what_leaves_goes_first() -> None:
    steps = [
        ("mark",),
        ("ZADD", "due", 7, "a"),
        ("HSET", "rows", "a", "{}"),
        ("ZREM", "due", "b"),  # b's score changes: it must not be taken away after it was put
        ("ZADD", "due", 9, "b"),
        ("HDEL", "leases", "a"),
        ("HSET", "rows", "b", "{}"),
    ]
    assert gathered(steps) == [
        ("mark",),
        ("ZREM", "due", "b"),
        ("HDEL", "leases", "a"),
        ("ZADD", "due", 7, "a", 9, "b"),
        ("HSET", "rows", "a", "{}", "b", "{}"),
    ]


def test_a_command_has_no_more_words_than_lua_can_hand_over_and_cuts_no_pair() -> None:
    steps = [("HSET", "alerts", f"place {n}", f"doc {n}") for n in range(WORDS)]
    commands = gathered(steps)
    assert max(map(len, commands)) == WORDS + 2
    assert [pair for _, _, *words in commands for pair in zip(words[::2], words[1::2], strict=True)] == [
        (f"place {n}", f"doc {n}") for n in range(WORDS)
    ]
