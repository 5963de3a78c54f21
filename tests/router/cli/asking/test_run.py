import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from router.cli.asking.chat import stats_line, wound_line
from router.cli.asking.images import data_uri, split_paths
from router.protocols.answers import ContextUse, sse_event
from router.protocols.openai.answer_schemas import TextChunk, TextChunkChoice
from router.status.contexts import WoundFacts
from tests.router.cli.conftest import Mlxr
from tests.router.cli.stub_gateway import TIMINGS, StubGateway, chunk
from tests.support import tiny_model
from tests.support.waiting import WITHIN_S

DONE = "data: [DONE]\n\n"


class Terminal(io.StringIO):
    """Typed lines; says that it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def answering(stub: StubGateway) -> StubGateway:
    without_choices = msgspec.structs.replace(chunk(), choices=[])
    stub.events = [chunk("Hel"), chunk("lo"), chunk(reason="stop", timings=TIMINGS), without_choices, DONE]
    return stub


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal())


def type_lines(monkeypatch: pytest.MonkeyPatch, *lines: str | type[BaseException]) -> None:
    """Make `input` give these lines, or raise, and end with Ctrl-D."""
    typed: Iterator[str | type[BaseException]] = iter([*lines, EOFError])

    def read(_prompt: str) -> str:
        line = next(typed)
        if isinstance(line, str):
            return line
        raise line

    monkeypatch.setattr("builtins.input", read)


def last_body(stub: StubGateway) -> Any:
    return stub.requests[-1][1]


@pytest.mark.usefixtures("terminal")
def test_a_prompt_is_answered_and_options_are_sent(mlxr: Mlxr, answering: StubGateway) -> None:
    options = ["--engine", "mlx", "--system", "Be brief.", "--max-tokens", "5", "--temperature", "0", "--seed", "1"]
    assert mlxr("run", "m", "Hi", *options) == (0, "Hello\n", "")
    _, body, headers = answering.requests[-1]
    assert body == {
        "model": "m",
        "max_tokens": 5,
        "temperature": 0.0,
        "seed": 1,
        "stream": True,
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
    }
    assert {key.lower(): value for key, value in headers.items()}["x-mlxr-engine"] == "mlx"


@pytest.mark.usefixtures("terminal")
def test_what_is_not_given_is_not_sent(mlxr: Mlxr, answering: StubGateway) -> None:
    mlxr("run", "m@mlx", "Hi")
    body = last_body(answering)
    assert body == {"model": "m@mlx", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}


@pytest.mark.usefixtures("terminal")
def test_a_model_of_which_nobody_says_anything_is_asked_moderately(
    mlxr: Mlxr, answering: StubGateway, tiny_gguf: Path, tmp_path: Path
) -> None:
    mlxr("models", "add", str(tiny_gguf), "--name", "m")

    def temperature(*options: str, name: str = "m@llamacpp") -> Any:
        assert mlxr("run", name, "Hi", *options).exit_code == 0
        return last_body(answering).get("temperature")

    assert temperature() == 0.7
    assert temperature(name="M:latest") == 0.7
    assert temperature(name="somebody's") is None
    assert temperature("--temperature", "1") == 1.0
    mlxr("models", "set", "m", "temperature=1")
    assert temperature() is None
    makers = tiny_model.write_mlx(tmp_path / "makers")
    (makers / "generation_config.json").write_text('{"temperature": 0.2}')
    mlxr("models", "set", "m", "temperature=")
    mlxr("models", "add", str(makers), "--name", "m")
    assert temperature() is None


@pytest.mark.usefixtures("terminal")
def test_a_model_without_a_template_goes_on_with_the_text(mlxr: Mlxr, stub: StubGateway, tmp_path: Path) -> None:
    base = tiny_model.write_gguf(tmp_path / "base.gguf", chat_template=None)
    mlxr("models", "add", str(base), "--name", "base")
    choice = TextChunkChoice(index=0, text=" upon a time", logprobs=None, finish_reason=None)
    chunk_of_text = TextChunk(id="cmpl-1", object="text_completion", created=7, model="base", choices=[choice])
    end = msgspec.structs.replace(
        chunk_of_text, choices=[msgspec.structs.replace(choice, text="", finish_reason="stop")]
    )
    stub.events = [*(sse_event(event).decode() for event in (chunk_of_text, end)), DONE]
    result = mlxr("run", "base", "Once", "--system", "A tale.", "--max-tokens", "5")
    assert (result.exit_code, result.out) == (0, " upon a time\n")
    assert result.err == "mlxr: base has no chat template; it goes on with what you write.\n"
    path, body, _ = stub.requests[-1]
    assert path == "/v1/completions"
    assert body["prompt"] == "A tale.\n\nOnce"
    assert (body["max_tokens"], "messages" in body) == (5, False)


@pytest.mark.usefixtures("terminal")
def test_figures_and_a_cut_answer_go_to_stderr(mlxr: Mlxr, answering: StubGateway) -> None:
    answering.events[2] = chunk(reason="length", timings=TIMINGS)
    result = mlxr("run", "m", "Hi", "--stats")
    assert result.out == "Hello\n"
    first, second = result.err.splitlines()
    assert first == "mlxr: the answer was cut at the token limit"
    assert second.startswith("prompt 12 tokens at 245.1/s, answer 64 tokens at 90.2/s, engine llamacpp")


def test_piped_input_is_the_prompt_or_is_added_to_it(
    mlxr: Mlxr, answering: StubGateway, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("some notes\n", encoding="utf-8")
    for arguments, expected in ((["m"], "some notes"), (["m", "Sum up:"], "Sum up:\n\nsome notes")):
        with file.open(encoding="utf-8") as stdin:
            monkeypatch.setattr(sys, "stdin", stdin)
            assert mlxr("run", *arguments).exit_code == 0
        assert last_body(answering)["messages"] == [{"role": "user", "content": expected}]


def test_nothing_to_ask_is_refused(mlxr: Mlxr, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    result = mlxr("run", "m")
    assert result.exit_code == 2
    assert "nothing to ask" in result.err


@pytest.mark.usefixtures("terminal")
def test_without_a_server_the_command_that_starts_one_is_named(mlxr: Mlxr) -> None:
    result = mlxr("run", "m", "hi")
    assert result.exit_code == 1
    assert "`mlxr serve`" in result.err


@pytest.mark.usefixtures("terminal")
def test_an_error_in_mid_stream_ends_with_exit_code_1_after_the_text(mlxr: Mlxr, stub: StubGateway) -> None:
    error = {"error": {"message": "The engine died.", "code": "engine_crashed"}}
    stub.events = [chunk("Hel"), f"data: {json.dumps(error)}\n\n"]
    assert mlxr("run", "m", "Hi") == (1, "Hel\n", "mlxr: The engine died.\n")


@pytest.mark.usefixtures("terminal")
def test_a_conversation_remembers_and_clear_forgets(
    mlxr: Mlxr, answering: StubGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    type_lines(monkeypatch, "one", "", "two", "/clear", "three", "/nonsense", "/bye", "never asked")
    result = mlxr("run", "m", "--system", "S")
    assert result.exit_code == 0
    assert "There is no /nonsense." in result.out
    asked = [[message["content"] for message in body["messages"]] for _, body, _ in answering.requests]
    assert asked == [["S", "one"], ["S", "one", "Hello", "two"], ["S", "three"]]


def parts_of(path: Path, text: str) -> list[dict[str, Any]]:
    return [
        {"type": "image_url", "image_url": {"url": data_uri(path)}},
        {"type": "text", "text": text},
    ]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "my photo.jpg"
    path.write_bytes(b"\xff\xd8 a picture")
    return path


@pytest.mark.usefixtures("terminal")
def test_pictures_go_before_the_prompt(mlxr: Mlxr, answering: StubGateway, photo: Path) -> None:
    assert mlxr("run", "m", "what is this?", "--image", str(photo)) == (0, "Hello\n", "")
    assert last_body(answering)["messages"] == [{"role": "user", "content": parts_of(photo, "what is this?")}]
    assert data_uri(photo) == "data:image/*;base64,/9ggYSBwaWN0dXJl"


@pytest.mark.usefixtures("terminal")
def test_a_bad_picture_is_named_by_its_file(mlxr: Mlxr, stub: StubGateway, photo: Path) -> None:
    error = {"message": "messages[0].content[0].image_url: it is damaged", "code": "invalid_image"}
    stub.answers["/v1/chat/completions"] = (400, json.dumps({"error": error}))
    assert mlxr("run", "m", "what?", "--image", str(photo)) == (1, "", "mlxr: my photo.jpg: it is damaged\n")
    result = mlxr("run", "m", "what?", "--image", str(photo), "--system", "S")
    assert result.err.startswith("mlxr: messages[0].content[0]"), "which is none of the question's"


@pytest.mark.usefixtures("terminal")
def test_a_picture_that_is_not_there_is_told_before_anything_is_asked(
    mlxr: Mlxr, answering: StubGateway, tmp_path: Path
) -> None:
    result = mlxr("run", "m", "what is this?", "--image", str(tmp_path / "no.jpg"))
    assert result.exit_code == 2
    assert "no.jpg" in result.err
    assert not answering.requests


@pytest.mark.usefixtures("terminal")
def test_no_more_of_a_file_is_read_than_the_server_takes(mlxr: Mlxr, answering: StubGateway, tmp_path: Path) -> None:
    large = tmp_path / "large.png"
    with large.open("wb") as file:
        file.truncate(1 << 40)
    for path in ("/dev/zero", str(large)):
        result = mlxr("run", "m", "what is this?", "--image", path)
        assert result.exit_code == 2
        assert f"{path} cannot be used" in result.err
    assert not answering.requests


@pytest.mark.usefixtures("terminal")
def test_a_path_that_is_pasted_into_a_conversation_is_its_picture(
    mlxr: Mlxr, answering: StubGateway, monkeypatch: pytest.MonkeyPatch, photo: Path
) -> None:
    escaped = str(photo).replace(" ", "\\ ")
    type_lines(monkeypatch, escaped, "what is this?", "and now?", f"'{photo}' again", "/tmp/none.jpg there")
    result = mlxr("run", "m")
    assert result.out.count("Shown: my photo.jpg") == 2
    asked = [message["content"] for message in last_body(answering)["messages"] if message["role"] == "user"]
    assert asked == [parts_of(photo, "what is this?"), "and now?", parts_of(photo, "again"), "/tmp/none.jpg there"]


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        ("{}", ""),
        ("what is {} then", "what is then"),
        ('"{}" here', "here"),
        ("file://{} here", "here"),
        ("it's a photo.jpg", None),
        ("'not a file.jpg' \"", None),
    ],
)
def test_only_words_that_are_files_are_taken_for_pictures(tmp_path: Path, typed: str, text: str | None) -> None:
    path = tmp_path / "photo.PNG"
    path.write_bytes(b"")
    line = typed.format(path)
    assert split_paths(line) == ((line, []) if text is None else (text, [path]))


@pytest.mark.usefixtures("terminal")
def test_ctrl_d_leaves_and_ctrl_c_at_the_prompt_does_not(
    mlxr: Mlxr, answering: StubGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    type_lines(monkeypatch, KeyboardInterrupt, "one")
    assert mlxr("run", "m").exit_code == 0
    assert len(answering.requests) == 1


@pytest.mark.usefixtures("terminal")
def test_ctrl_c_stops_only_the_answer(mlxr: Mlxr, stub: StubGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    stub.is_endless = True
    type_lines(monkeypatch, "one", "/bye")

    def interrupt(_text: str) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("router.cli.asking.chat.shown_answer", interrupt)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    result = mlxr("run", "m")
    assert result.exit_code == 0
    assert "(stopped)" in result.out
    assert stub.was_hung_up.wait(WITHIN_S), "the server is told at once"


@pytest.mark.usefixtures("terminal")
def test_a_failed_question_is_forgotten_and_the_conversation_goes_on(
    mlxr: Mlxr, stub: StubGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub.answers["/v1/chat/completions"] = (429, '{"error": {"message": "The queue is full.", "code": "queue_full"}}')
    type_lines(monkeypatch, "one", "two")
    result = mlxr("run", "m")
    assert result.exit_code == 0
    assert result.err.count("The queue is full.") == 2
    assert [message["content"] for message in last_body(stub)["messages"]] == ["two"]


def test_the_stats_line_leaves_out_what_was_not_measured() -> None:
    figures = msgspec.structs.replace(TIMINGS, cache_n=3, predicted_per_second=None)
    assert stats_line(figures) == (
        "prompt 12 tokens at 245.1/s, answer 64 tokens, 3 of the prompt cached, engine llamacpp, load 0.31 s, "
        "queue 0.00 s"
    )


def test_that_older_turns_were_summarised_is_said_by_the_answer_that_did_it() -> None:
    wound = WoundFacts(
        turns=12, tokens_before=900, tokens_after=300, narrative_tokens=40, by="m", ms=12.5, left_out=False
    )
    context = ContextUse(used=310, limit=1000, id="ctx_1", wound=wound)
    assert wound_line(context) == (
        "mlxr: what the model sees of the first 12 messages was summarised (900 to 300 tokens); "
        "mlxr context ctx_1 shows what it sees"
    )
    earlier = msgspec.structs.replace(context, wound=msgspec.structs.replace(wound, ms=0.0))
    assert wound_line(earlier) is None
