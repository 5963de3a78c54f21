import random

import pytest

from backends.wire.prompts import ImagePart, PromptMessage, TextPart
from router.context.transcript import transcript_of, transcripts_of
from tests.support.random_talks import random_prompt


def test_a_transcript_says_who_said_what_and_no_thoughts() -> None:
    function = {"name": "read", "arguments": {"path": "a.py"}}
    told: list[PromptMessage] = [
        {"role": "user", "content": [TextPart("Look."), ImagePart(b"\x89PNG" + b"." * 2000, "messages")]},
        {
            "role": "assistant",
            "content": "I read.",
            "reasoning_content": "Secret.",
            "tool_calls": [{"function": function}],
        },
        {"role": "tool", "content": "x = 1", "tool_call_id": "a", "name": "read"},
    ]
    assert [transcript_of(message) for message in told] == [
        "[user]\nLook.\n[image: PNG, 1 KiB]",
        '[assistant]\nI read.\n[calls read {"path":"a.py"}]',
        "[result read]\nx = 1",
    ]
    assert transcripts_of(told, (0, 1, 2), [10, 10, 10], 100) == ["\n".join(map(transcript_of, told))]


def test_of_long_results_the_middle_is_missing_and_of_users_words_nothing() -> None:
    text = "b" * 5000 + "m" * 5000 + "e" * 5000
    result = transcript_of({"role": "tool", "content": text})
    assert len(result) < 2100
    assert "b" in result
    assert "e" in result
    assert "m" not in result.partition("[...")[0] + result.partition("...]")[2]
    assert text in transcript_of({"role": "user", "content": text})


@pytest.mark.parametrize("seed", range(50))
@pytest.mark.parametrize("max_tokens", [1, 50, 300, 5000])
def test_pieces_fit_and_have_everything_in_order(seed: int, max_tokens: int) -> None:
    messages = random_prompt(random.Random(seed)).messages
    sizes = [len(transcript_of(message)) // 4 + 4 for message in messages]
    pieces = transcripts_of(messages, range(len(messages)), sizes, max_tokens)
    assert all(len(piece) // 4 <= max(max_tokens, 75) for piece in pieces)
    told = "".join(line for piece in pieces for line in piece.splitlines() if not line.endswith(", going on]"))
    assert told == "".join("".join(map(transcript_of, messages)).splitlines())


def test_a_message_that_is_too_long_alone_is_cut() -> None:
    text = " ".join(map(str, range(5000)))
    messages: list[PromptMessage] = [{"role": "user", "content": "Hi"}, {"role": "user", "content": text}]
    pieces = transcripts_of(messages, (0, 1), [5, 8000], 1000)
    assert len(pieces) in {9, 10, 11}
    assert pieces[0].startswith("[user]\nHi")
    assert all(piece.startswith("[user, going on]\n") for piece in pieces[-8:])
    assert text in "".join(piece.removeprefix("[user, going on]\n") for piece in pieces)


def test_a_long_message_is_cut_between_sentences() -> None:
    text = "Remember: the gate code is 4821. " * 500
    pieces = transcripts_of([{"role": "user", "content": text}], (0,), [4000], 500)
    assert len(pieces) > 5
    assert all(piece.rstrip().endswith("4821.") for piece in pieces)


def test_nothing_told_is_no_piece() -> None:
    assert transcripts_of([], (), [], 100) == []
