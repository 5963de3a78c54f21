"""Documents over HTTP: read by themselves, and within requests of the Responses API."""

import base64
from typing import Any

import httpx
import msgspec
import pytest

from backends.fake.engine import FakeOptions
from router.config import DocumentsConfig
from router.config.images import ImagesConfig
from tests.support.documents import cells, docx, pdf, xlsx
from tests.support.fake_fleet import make_config
from tests.support.fake_openai import FakeFront, with_front
from tests.support.seeing_model import SEEING, add_seeing_model, data_uri, photo

ALL = "/v1/mlxr/documents"
KNOWS = FakeOptions(answers=(("The answer is 42", "found"), ("Budget", "sheet")), answer_tokens=6)
REPORT = docx()


async def read(front: FakeFront, data: bytes, query: str = "?name=report.docx", **more: Any) -> httpx.Response:
    return await front.client.post(ALL + query, content=data, **more)


def file_part(data: bytes, name: str | None = "report.docx", **fields: Any) -> dict[str, Any]:
    encoded = "data:application/octet-stream;base64," + base64.b64encode(data).decode()
    named = {} if name is None else {"filename": name}
    return {"type": "input_file", "file_data": encoded} | named | fields


def asking(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [*parts, {"type": "input_text", "text": "What is it?"}]}]


async def ask(front: FakeFront, given: Any, **fields: Any) -> httpx.Response:
    return await front.client.post("/v1/responses", json={"model": "m", "input": given, "temperature": 0} | fields)


def text_of(response: httpx.Response) -> str:
    assert response.status_code == 200, response.text
    (text,) = [part["text"] for item in response.json()["output"] for part in item["content"]]
    return str(text)


def error_of(response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == 400, response.text
    error: dict[str, Any] = response.json()["error"]
    return error


@with_front(llamacpp=KNOWS)
async def test_a_document_is_read_and_asked_about_by_its_id(front: FakeFront) -> None:
    found = await read(front, REPORT)
    assert found.status_code == 200, found.text
    document = found.json()
    assert document.pop("id").startswith("doc_")
    assert document == {
        "name": "report.docx",
        "kind": "docx",
        "markdown": "# Report\n\nThe answer is 42.",
        "num_pages": None,
        "scanned_pages": [],
        "num_chars": 27,
        "is_truncated": False,
        "notes": [],
    }
    part = {"type": "input_file", "file_id": found.json()["id"]}
    assert text_of(await ask(front, asking(part))) == "found"
    gone = await front.client.delete(f"{ALL}/{found.json()['id']}")
    assert gone.json() == {"id": found.json()["id"], "object": "document", "deleted": True}
    assert (await front.client.delete(f"{ALL}/{found.json()['id']}")).status_code == 404
    error = error_of(await ask(front, asking(part)))
    assert error["param"] == "input[0].content[0].file_id"
    assert "send it again" in error["message"]


@with_front(llamacpp=KNOWS)
async def test_its_tokens_are_those_of_the_model_that_is_named(front: FakeFront) -> None:
    counted = (await read(front, REPORT, "?name=report.docx&model=m")).json()
    assert counted["num_tokens"] > counted["num_chars"], "the fake's tokens are bytes, and a document is quoted"
    assert counted["context_length"] == 8192
    long = (await read(front, b"x" * 50_000, "?name=a.txt&model=m")).json()
    assert long["num_tokens"] > long["context_length"], "more than the context holds is counted as well"
    refused = await read(front, REPORT, "?name=report.docx&model=nobody")
    assert refused.status_code == 404


@with_front(llamacpp=KNOWS)
async def test_one_that_cannot_be_read_says_why(front: FakeFront) -> None:
    error = error_of(await read(front, pdf(["x"], password="p"), "?name=a.pdf"))
    assert (error["code"], error["type"]) == ("invalid_document", "invalid_request_error")
    assert error["message"] == "a.pdf is encrypted with a password; save it without one and send that"
    assert "is empty" in error_of(await read(front, b""))["message"]
    form = await front.client.post(ALL, files={"file": ("a.txt", b"x")})
    assert form.status_code == 415


@with_front(llamacpp=KNOWS)
async def test_pages_of_other_origins_read_none(front: FakeFront) -> None:
    refused = await read(front, REPORT, headers={"origin": "http://127.0.0.1:9"})
    assert refused.status_code == 403


@with_front(llamacpp=KNOWS)
async def test_documents_in_a_question_are_quoted_with_their_names(front: FakeFront) -> None:
    answer = await ask(front, asking(file_part(REPORT), file_part(xlsx({"Budget": cells([[1]])}), "b.xlsx")))
    assert text_of(answer) == "found"
    items = (await front.client.get(f"/v1/responses/{answer.json()['id']}/input_items")).json()["data"]
    first, second, question = items[0]["content"]
    assert first == {
        "type": "input_file",
        "filename": "report.docx",
        "file_id": None,
        "text": "# Report\n\nThe answer is 42.",
    }
    assert (second["filename"], question["text"]) == ("b.xlsx", "What is it?")
    # What is kept may be sent back.
    assert text_of(await ask(front, [{"role": "user", "content": [first, question]}])) == "found"


TELLS = FakeOptions(answers=(("", "{colours}"),))


@with_front(llamacpp=TELLS)
async def test_scanned_pages_are_shown_to_a_model_that_sees(front: FakeFront) -> None:
    add_seeing_model(front.registry)
    part = file_part(pdf(["text", None, None]), "scan.pdf")
    made = (await front.client.post("/v1/conversations", json={})).json()["id"]
    answer = await ask(front, asking(part), model=SEEING, conversation=made)
    assert text_of(answer) == "red, red"
    items = (await front.client.get(f"/v1/responses/{answer.json()['id']}/input_items")).json()["data"]
    kept = items[0]["content"]
    assert [each["type"] for each in kept] == ["input_file", "input_text", "input_image", "input_image"]
    assert kept[0]["text"].endswith(
        "[Page 2 is picture 1 of this document.]\n\n[Page 3 is picture 2 of this document.]"
    )
    assert text_of(await ask(front, "And?", model=SEEING, conversation=made)) == "red, red"
    body = {"model": SEEING, "input": asking(part)}
    counted = (await front.client.post("/v1/responses/input_tokens", json=body)).json()["input_tokens"]
    assert answer.json()["usage"]["input_tokens"] == counted
    # By its id as well, and where there is nothing but pictures.
    found = (await read(front, pdf([None]), "?name=scan.pdf")).json()
    named = {"type": "input_file", "file_id": found["id"]}
    assert text_of(await ask(front, asking(named), model=SEEING)) == "red"


@with_front(llamacpp=KNOWS)
async def test_later_turns_know_a_document_without_reading_it_again(front: FakeFront) -> None:
    made = (await front.client.post("/v1/conversations", json={})).json()["id"]
    part = file_part(REPORT)
    assert text_of(await ask(front, asking(part), conversation=made)) == "found"
    first = await ask(front, asking(part))
    current = front.fleet.current_config
    config = current.config
    current.take_over(msgspec.structs.replace(config, documents=DocumentsConfig(max_bytes=0)))
    assert "documents are not read here" in error_of(await ask(front, asking(part)))["message"]
    assert text_of(await ask(front, "And?", conversation=made)) == "found"
    assert text_of(await ask(front, "And?", previous_response_id=first.json()["id"])) == "found"
    listed = (await front.client.get("/v1/mlxr/conversations?q=answer")).json()["conversations"]
    assert [each["id"] for each in listed] == [made], "what documents say is found"
    assert listed[0]["title"] == "[report.docx] What is it?"
    nameless = {"type": "input_file", "text": "what was read before"}
    created = (await front.client.post("/v1/conversations", json={"items": asking(nameless)})).json()["id"]
    assert (await front.client.get(f"/v1/mlxr/conversations/{created}")).json()["conversation"]["title"] == (
        "[document] What is it?"
    )
    current.take_over(config)
    added = {"items": asking(part)}
    assert (await front.client.post(f"/v1/conversations/{made}/items", json=added)).status_code == 200


@with_front(llamacpp=KNOWS)
async def test_a_file_that_was_uploaded_is_named_by_its_id(front: FakeFront) -> None:
    uploaded = await front.client.post(
        "/v1/files", files={"file": ("report.docx", REPORT)}, data={"purpose": "user_data"}
    )
    part = {"type": "input_file", "file_id": uploaded.json()["id"]}
    assert text_of(await ask(front, asking(part))) == "found"
    error = error_of(await ask(front, asking({"type": "input_file", "file_id": "file-none"})))
    assert error["param"] == "input[0].content[0].file_id"


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"file_url": "https://example.com/a.pdf"}, "file_url", "nothing is fetched here"),
    ({"file_url": "file:///etc/passwd"}, "file_url", "nothing is fetched here"),
    ({"file_data": "data:application/pdf,abc"}, "file_data", "not base64"),
    ({"file_data": "*"}, "file_data", "not base64"),
    ({}, "file_id", "is missing"),
    (file_part(pdf([None]), "scan.pdf"), "", "no text (scanned)"),
    (file_part(pdf(["x"], password="p"), "a.pdf"), "file_data", "encrypted"),
    (file_part(REPORT, "report.pdf"), "file_data", "name it as what it is"),
]


@pytest.mark.parametrize(("part", "field", "words"), REFUSED, ids=[words for _, _, words in REFUSED])
@with_front(llamacpp=KNOWS)
async def test_one_of_the_question_that_cannot_be_read_is_refused_by_its_field(
    front: FakeFront, *, part: dict[str, Any], field: str, words: str
) -> None:
    error = error_of(await ask(front, asking({"type": "input_file", **part})))
    assert error["param"] == ".".join(filter(None, ["input[0].content[0]", field]))
    assert words in error["message"]


@with_front(llamacpp=KNOWS)
async def test_one_of_earlier_turns_that_cannot_be_read_is_said_in_words(front: FakeFront) -> None:
    earlier = [{"role": "user", "content": [file_part(b"%PDF- broken", "a.pdf"), file_part(REPORT)]}]
    answer = await ask(front, [*earlier, {"role": "user", "content": "And?"}])
    assert text_of(answer) == "found"
    assert answer.headers["x-mlxr-ignored"] == "input[].content[].type=input_file"


@with_front(llamacpp=KNOWS)
async def test_a_tool_may_answer_with_a_document(front: FakeFront) -> None:
    call = {"type": "function_call", "call_id": "c", "name": "get", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": "c", "output": [file_part(REPORT)]}
    assert text_of(await ask(front, [{"role": "user", "content": "Get it"}, call, output])) == "found"


@with_front(llamacpp=KNOWS)
async def test_a_count_has_the_documents_in_it(front: FakeFront) -> None:
    body = {"model": "m", "input": asking(file_part(REPORT))}
    counted = (await front.client.post("/v1/responses/input_tokens", json=body)).json()["input_tokens"]
    assert (await ask(front, asking(file_part(REPORT)))).json()["usage"]["input_tokens"] == counted


@with_front(llamacpp=KNOWS)
async def test_a_name_is_found_from_the_media_type(front: FakeFront) -> None:
    data = "data:text/csv;base64," + base64.b64encode(b"a,b\n1,2").decode()
    answer = await ask(front, asking({"type": "input_file", "file_data": data}))
    items = (await front.client.get(f"/v1/responses/{answer.json()['id']}/input_items")).json()["data"]
    assert items[0]["content"][0]["filename"] == "document.csv"
    assert items[0]["content"][0]["text"].startswith("| a | b |")


def chat_part(data: bytes, name: str = "report.docx") -> dict[str, Any]:
    return {"type": "file", "file": {"filename": name, "file_data": base64.b64encode(data).decode()}}


async def chat(front: FakeFront, *parts: dict[str, Any], **fields: Any) -> httpx.Response:
    content = [*parts, {"type": "text", "text": "What is it?"}]
    return await front.chat(messages=[{"role": "user", "content": content}], **fields)


def said(response: httpx.Response) -> str:
    assert response.status_code == 200, response.text
    return str(response.json()["choices"][0]["message"]["content"])


@with_front(llamacpp=KNOWS)
async def test_chats_take_documents_as_well(front: FakeFront) -> None:
    assert said(await chat(front, chat_part(REPORT))) == "found"
    found = (await read(front, REPORT)).json()
    assert said(await chat(front, {"type": "file", "file": {"file_id": found["id"]}})) == "found"
    error = error_of(await chat(front, chat_part(pdf(["x"], password="p"), "a.pdf")))
    assert (error["code"], error["param"]) == ("invalid_document", "messages[0].content[0].file.file_data")
    for empty in ({"type": "file"}, {"type": "file", "file": {}}):
        error = error_of(await chat(front, empty))
        assert error["param"] == "messages[0].content[0].file.file_id"
        assert "the document is missing; send file_data" in error["message"]
    error = error_of(await chat(front, {"type": "text", "text": "x", "file": {"file_data": "eA=="}}))
    assert error["param"] == "messages[0].content[0].type"
    earlier = [{"role": "user", "content": [chat_part(b"%PDF- broken", "a.pdf"), chat_part(REPORT)]}]
    answer = await front.chat(messages=[*earlier, {"role": "user", "content": "And?"}])
    assert said(answer) == "found"
    assert answer.headers["x-mlxr-ignored"] == "messages[].content[].type=file"
    body = {"model": "m", "messages": [{"role": "user", "content": [chat_part(REPORT)]}]}
    counted = (await front.client.post("/v1/chat/completions/input_tokens", json=body)).json()["input_tokens"]
    usage = (await front.client.post("/v1/chat/completions", json=body)).json()["usage"]
    assert usage["prompt_tokens"] == counted


@with_front(llamacpp=TELLS)
async def test_chats_show_scanned_pages_to_a_model_that_sees(front: FakeFront) -> None:
    add_seeing_model(front.registry)
    part = chat_part(pdf([None, None]), "scan.pdf")
    assert said(await chat(front, part, model=SEEING, max_tokens=20)) == "red, red"
    assert "no text (scanned)" in error_of(await chat(front, part))["message"]


TWO_PICTURES = msgspec.structs.replace(make_config(), images=ImagesConfig(max_per_request=2))


@with_front(llamacpp=TELLS, config=TWO_PICTURES)
async def test_scanned_pages_leave_room_for_the_pictures_of_the_question(front: FakeFront) -> None:
    add_seeing_model(front.registry)
    blue, pages = data_uri(photo(colour="blue")), pdf([None, None])
    image = {"type": "image_url", "image_url": {"url": blue}}
    assert said(await chat(front, image, chat_part(pages, "scan.pdf"), model=SEEING, max_tokens=20)) == "blue, red"
    given = asking({"type": "input_image", "image_url": blue}, file_part(pages, "scan.pdf"))
    answer = await ask(front, given, model=SEEING)
    assert text_of(answer) == "blue, red"
    items = (await front.client.get(f"/v1/responses/{answer.json()['id']}/input_items")).json()["data"]
    shown = "[Page 1 is picture 1 of this document.]\n\n[Of page 2 there is only a picture, which is not shown.]"
    assert items[0]["content"][1]["text"] == shown


OFF = msgspec.structs.replace(make_config(), documents=DocumentsConfig(max_bytes=0))


@with_front(llamacpp=KNOWS, config=OFF)
async def test_none_is_read_where_the_config_says_so(front: FakeFront) -> None:
    assert "documents are not read here" in error_of(await read(front, REPORT))["message"]
    assert "documents are not read here" in error_of(await ask(front, asking(file_part(REPORT))))["message"]
