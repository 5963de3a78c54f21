"""Documents in Anthropic's messages: read by the same core, quoted, and never fetched."""

from typing import Any

import httpx
import pytest

from backends.fake.engine import FakeOptions
from router.documents.quoting import quoted_document
from tests.support.documents import docx, pdf
from tests.support.fake_openai import FakeFront, with_front
from tests.support.seeing_model import SEEING, add_seeing_model, as_base64, photo

REPORT = pdf(["The answer is 42."])
KNOWS = FakeOptions(answers=(("The answer is 42", "found"), ("Only the title", "titled")), answer_tokens=6)
TELLS = FakeOptions(answers=(("", "{colours}"),))


def of_data(data: bytes, media_type: str | None = "application/pdf", **more: Any) -> dict[str, Any]:
    source = {"type": "base64", "media_type": media_type, "data": as_base64(data)}
    return {"type": "document", "source": {name: value for name, value in source.items() if value}, **more}


def of_text(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": text}, **more}


def of_blocks(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"type": "document", "source": {"type": "content", "content": list(blocks)}}


def asking(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": [*blocks, {"type": "text", "text": "What is it?"}]}


async def ask(front: FakeFront, *messages: dict[str, Any], headers: Any = None, **fields: Any) -> httpx.Response:
    body = {"model": "m", "max_tokens": 20, "messages": list(messages)} | fields
    return await front.client.post("/v1/messages", json=body, headers=headers)


def text_of(response: httpx.Response) -> str:
    assert response.status_code == 200, response.text
    return "".join(block["text"] for block in response.json()["content"])


def error_of(response: httpx.Response) -> str:
    assert response.status_code == 400, response.text
    return str(response.json()["error"]["message"])


@pytest.mark.parametrize(
    "block",
    [
        of_data(REPORT),
        of_data(REPORT, None),
        of_data(REPORT, title="A report of v1.2", context="Of last year"),
        of_data(docx(), "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        of_text("The answer is 42."),
        of_blocks({"type": "text", "text": "The answer"}, {"type": "text", "text": "is 42."}),
        {"type": "document", "source": {"type": "content", "content": "The answer is 42."}},
    ],
    ids=["pdf", "without a type", "with a title", "docx", "text", "blocks", "content"],
)
@with_front(llamacpp=FakeOptions(answers=(("42", "found"),)))
async def test_a_document_is_shown_to_the_model(front: FakeFront, *, block: dict[str, Any]) -> None:
    assert text_of(await ask(front, asking(block))) == "found"


@with_front(llamacpp=KNOWS)
async def test_what_is_read_of_a_file_is_quoted_as_a_text_is_and_counted(front: FakeFront) -> None:
    shown = quoted_document("report.pdf", "From the archive\nThe answer is 42.")
    as_text = {"type": "text", "text": shown}
    about = {"title": "report.pdf", "context": "From the archive"}
    counts = set()
    for block in (of_data(b"The answer is 42.", "text/plain", **about), of_text("The answer is 42.", **about), as_text):
        body = {"model": "m", "messages": [asking(block)]}
        counted = (await front.client.post("/v1/messages/count_tokens", json=body)).json()["input_tokens"]
        usage = (await ask(front, asking(block))).json()["usage"]
        assert counted == usage["input_tokens"] + usage["cache_read_input_tokens"]
        counts.add(counted)
    assert len(counts) == 1


@with_front(llamacpp=KNOWS)
async def test_a_file_that_was_uploaded_or_read_is_named_by_its_id(front: FakeFront) -> None:
    files = {"file": ("report.pdf", REPORT)}
    uploaded = (await front.client.post("/v1/files", files=files, data={"purpose": "user_data"})).json()["id"]
    kept = (await front.client.post("/v1/mlxr/documents?name=report.pdf", content=REPORT)).json()["id"]
    for file_id in (uploaded, kept):
        block = {"type": "document", "source": {"type": "file", "file_id": file_id}}
        assert text_of(await ask(front, asking(block))) == "found"
    gone = {"type": "document", "source": {"type": "file", "file_id": "file-none"}}
    assert error_of(await ask(front, asking(gone))).startswith("messages[0].content[0].source.file_id: ")


REFUSED: list[tuple[dict[str, Any], str]] = [
    (
        {"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}},
        "messages[0].content[0].source.url: nothing is fetched here; send the document as base64",
    ),
    ({"type": "document", "source": {"type": "base64", "data": "*"}}, "source.data: it is not base64"),
    ({"type": "document", "source": {"type": "base64"}}, "messages[0].content[0].source"),
    ({"type": "document", "source": {"type": "file"}}, "messages[0].content[0].source"),
    ({"type": "document", "source": {"type": "tape"}}, "source.type: documents of this source are not read"),
    ({"type": "document"}, "messages[0].content[0]"),
    (of_data(pdf(["x"], password="p")), "source.data: document.pdf is encrypted with a password"),
    (of_data(pdf([None])), "messages[0].content[0]: document.pdf has pictures of pages and no text (scanned)"),
]


@pytest.mark.parametrize(("block", "words"), REFUSED, ids=[words for _, words in REFUSED])
@with_front(llamacpp=KNOWS)
async def test_one_of_the_question_that_cannot_be_read_is_refused_by_its_field(
    front: FakeFront, *, block: dict[str, Any], words: str
) -> None:
    assert words in error_of(await ask(front, asking(block)))


@with_front(llamacpp=KNOWS)
async def test_one_of_earlier_turns_that_cannot_be_read_is_said_in_words(front: FakeFront) -> None:
    address = {"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}}
    earlier = asking(of_data(b"%PDF- broken", title="a.pdf"), address, of_data(REPORT))
    answer = await ask(front, earlier, {"role": "assistant", "content": "Yes."}, {"role": "user", "content": "And?"})
    assert text_of(answer) == "found"
    assert answer.headers["x-mlxr-ignored"] == "messages[].content[].type=document"


@with_front(llamacpp=KNOWS)
async def test_a_tool_may_answer_with_a_document(front: FakeFront) -> None:
    call = {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "get", "input": {}}]}
    result = {"type": "tool_result", "tool_use_id": "t", "content": [of_data(REPORT)]}
    answer = await ask(front, {"role": "user", "content": "Get it"}, call, {"role": "user", "content": [result]})
    assert text_of(answer) == "found"
    assert "x-mlxr-ignored" not in answer.headers


@with_front(llamacpp=KNOWS)
async def test_citations_are_named_as_ignored_and_refused_where_that_is_wanted(front: FakeFront) -> None:
    cited, plain = (of_text("The answer is 42.", citations={"enabled": each}) for each in (True, False))
    answer = await ask(front, asking(cited))
    assert text_of(answer) == "found"
    assert answer.headers["x-mlxr-ignored"] == "messages[].content[].citations"
    assert "x-mlxr-ignored" not in (await ask(front, asking(plain))).headers
    strict = await ask(front, asking(cited), headers={"X-Mlxr-Strict": "true"})
    assert "messages[0].content[0].citations: answers cite nothing here" in error_of(strict)


@with_front(llamacpp=TELLS)
async def test_pictures_of_documents_are_shown_to_a_model_that_sees(front: FakeFront) -> None:
    add_seeing_model(front.registry)
    scanned = asking(of_data(pdf(["text", None])))
    assert text_of(await ask(front, scanned, model=SEEING)) == "red"
    blue = {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": as_base64(photo(colour="blue"))},
    }
    made_of_blocks = of_blocks({"type": "text", "text": "A picture:"}, blue)
    assert text_of(await ask(front, asking(made_of_blocks), model=SEEING)) == "blue"
    body = {"model": SEEING, "messages": [scanned]}
    counted = (await front.client.post("/v1/messages/count_tokens", json=body)).json()["input_tokens"]
    usage = (await ask(front, scanned, model=SEEING)).json()["usage"]
    assert counted == usage["input_tokens"] + usage["cache_read_input_tokens"]
    error = error_of(await ask(front, asking(made_of_blocks)))
    assert error.startswith("messages[0].content[0].source.content[1].source.data: the model 'm' cannot see pictures")
