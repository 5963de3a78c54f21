import math

import msgspec

from backends.wire.output import PositionLogprobs, TokenLogprob
from router.protocols.fields.logprobs import FLOOR, position_logprobs, token_text

EURO = "€".encode()


def test_a_position_has_the_token_that_was_drawn_and_the_likeliest_ones() -> None:
    drawn = PositionLogprobs(TokenLogprob(9, b"a", -0.5), (TokenLogprob(0, b"a", -0.5), TokenLogprob(1, b"b", -2.0)))
    assert msgspec.to_builtins(position_logprobs([drawn])) == [
        {
            "token": "a",
            "logprob": -0.5,
            "bytes": [97],
            "top_logprobs": [
                {"token": "a", "logprob": -0.5, "bytes": [97]},
                {"token": "b", "logprob": -2.0, "bytes": [98]},
            ],
        }
    ]


def test_a_token_that_is_no_text_by_itself_is_written_as_its_bytes() -> None:
    assert token_text(EURO[:2]) == "bytes:\\xe2\\x82"
    assert token_text(EURO) == "€"
    assert position_logprobs([PositionLogprobs(TokenLogprob(1, EURO[:1], -0.5))])[0].bytes == [0xE2]


def test_minus_infinity_is_a_number_that_json_has() -> None:
    impossible = PositionLogprobs(TokenLogprob(1, b"a", -math.inf), (TokenLogprob(1, b"a", -math.inf),))
    (position,) = position_logprobs([impossible])
    assert position.logprob == position.top_logprobs[0].logprob == FLOOR
