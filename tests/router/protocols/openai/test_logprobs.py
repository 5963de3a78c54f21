import math

from backends.wire.output import PositionLogprobs, TokenLogprob
from router.protocols.fields.logprobs import FLOOR, token_text
from router.protocols.openai.logprobs import CompletionLogprobs, chat_logprobs

EURO = "€".encode()


def position(piece: bytes, *top: tuple[bytes, float]) -> PositionLogprobs:
    tokens = tuple(TokenLogprob(index, each, logprob) for index, (each, logprob) in enumerate(top))
    return PositionLogprobs(TokenLogprob(9, piece, -0.5), tokens)


def test_the_chats_shape() -> None:
    assert chat_logprobs([position(b"a", (b"a", -0.5), (b"b", -2.0))]) == {
        "content": [
            {
                "token": "a",
                "logprob": -0.5,
                "bytes": [97],
                "top_logprobs": [
                    {"token": "a", "logprob": -0.5, "bytes": [97]},
                    {"token": "b", "logprob": -2.0, "bytes": [98]},
                ],
            }
        ],
        "refusal": None,
    }


def test_the_completions_shape_has_the_drawn_token_among_the_likeliest() -> None:
    assert CompletionLogprobs().shape([position(b"a", (b"b", -0.25)), position(b"xy")]) == {
        "tokens": ["a", "xy"],
        "token_logprobs": [-0.5, -0.5],
        "top_logprobs": [{"a": -0.5, "b": -0.25}, {"xy": -0.5}],
        "text_offset": [0, 1],
    }


def test_a_token_that_is_no_text_by_itself_is_written_as_its_bytes() -> None:
    assert token_text(EURO[:2]) == "bytes:\\xe2\\x82"
    assert token_text(EURO) == "€"
    assert chat_logprobs([position(EURO[:1])])["content"][0]["bytes"] == [0xE2]


def test_offsets_count_characters_even_where_tokens_cut_them() -> None:
    shaper = CompletionLogprobs()
    first = shaper.shape([position(b"a"), position(EURO[:2])])
    second = shaper.shape([position(EURO[2:]), position(b"b")])
    assert first["text_offset"] + second["text_offset"] == [0, 1, 1, 2]


def test_minus_infinity_is_a_number_that_json_has() -> None:
    impossible = PositionLogprobs(TokenLogprob(1, b"a", -math.inf), (TokenLogprob(1, b"a", -math.inf),))
    assert chat_logprobs([impossible])["content"][0]["logprob"] == FLOOR
    assert CompletionLogprobs().shape([impossible])["top_logprobs"] == [{"a": FLOOR}]
