import json
from typing import Any

import pytest

from router.bench.run.client import Answer, SeenImage, read_stream


def event(**fields: Any) -> bytes:
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


def piece(text: str = "x", **fields: Any) -> bytes:
    return event(choices=[{"delta": {"content": text}, "finish_reason": None}], **fields)


END = event(choices=[{"delta": {}, "finish_reason": "stop"}])
DONE = b"data: [DONE]\n\n"


def read(*stamped: tuple[float, bytes], ended_at: float = 109.0) -> Answer:
    return read_stream(stamped, started_at=100.0, ended_at=ended_at)


def test_every_piece_has_the_time_at_which_its_last_byte_came() -> None:
    second = piece("b")
    answer = read((101.0, piece("a") + second[:9]), (102.5, second[9:]), (103.0, END + DONE))
    assert answer.piece_times_ms == (1000.0, 2500.0)
    assert (answer.text, answer.total_ms, answer.error) == ("ab", 9000.0, None)


def test_a_role_alone_is_no_piece_and_thinking_is_one() -> None:
    role = event(choices=[{"delta": {"role": "assistant", "content": ""}}])
    thought = event(choices=[{"delta": {"reasoning_content": "hm"}}])
    answer = read((101.0, role), (102.0, thought), (103.0, piece() + END + DONE))
    assert answer.piece_times_ms == (2000.0, 3000.0)
    assert answer.text == "x"


def test_counts_are_the_servers_where_it_counts() -> None:
    usage = {"prompt_tokens": 30, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 8}}
    answer = read((101.0, piece() + END + event(choices=[], usage=usage) + DONE))
    assert (answer.num_prompt_tokens, answer.num_cached_tokens, answer.num_output_tokens) == (30, 8, 5)
    silent = read((101.0, piece() + piece() + END + DONE))
    assert (silent.num_prompt_tokens, silent.num_cached_tokens, silent.num_output_tokens) == (None, None, 2)
    told = read((101.0, piece(timings={"cache_n": 3, "predicted_n": 7}) + END))
    assert (told.num_cached_tokens, told.num_output_tokens) == (3, 7)


def test_an_error_in_the_stream_a_cut_and_an_empty_answer_are_errors() -> None:
    assert read((101.0, piece() + event(error={"message": "the  engine\ndied"}))).error == "the engine died"
    assert read((101.0, piece())).error == "the stream ended before the answer did"
    assert read((101.0, END + DONE)).error == "the answer is empty"
    assert read((101.0, b"data: {oops\n\n" + piece() + END)).error == "the stream carries something that is not JSON"


def test_what_the_server_says_of_the_first_picture_is_taken() -> None:
    told = {"original": [448, 336], "seen": [224, 168], "tokens": 48, "cached": False, "encode_ms": 12.5}
    answer = read((101.0, piece() + event(choices=[], mlxr={"images": [told, told | {"tokens": 1}]}) + END))
    assert answer.image == SeenImage(tokens=48, cached=False, encode_ms=12.5)


@pytest.mark.parametrize("told", [None, [], "x", {}, {"images": []}, {"images": 5}, {"images": [{"tokens": "many"}]}])
def test_a_server_that_says_nothing_of_pictures_is_no_error(told: object) -> None:
    answer = read((101.0, piece(mlxr=told) + END))
    assert (answer.image, answer.error) == (None, None)


def test_equal_answers_have_equal_digests_thoughts_included() -> None:
    def digest(*pieces: bytes) -> str:
        return read((101.0, b"".join(pieces) + END)).digest

    thought = event(choices=[{"delta": {"reasoning_content": "hm"}}])
    assert digest(piece("a"), piece("b")) == digest(piece("ab"))
    assert len({digest(piece("ab")), digest(piece("ac")), digest(thought, piece("ab")), digest(thought)}) == 4
