"""Files over HTTP."""

import asyncio
import json
import threading
from pathlib import Path

import msgspec
import pytest

from backends.fake.engine import FakeOptions
from router.config import BatchesConfig, Config
from router.jobs.batches.base import LineEnd
from router.jobs.batches.runner import Batches
from tests.support.batch_client import begun, line, uploaded
from tests.support.fake_fleet import make_config
from tests.support.fake_openai import FakeFront, with_front
from tests.support.waiting import WITHIN_S


@with_front()
async def test_files_are_listed_described_read_and_deleted(front: FakeFront) -> None:
    ids = [await uploaded(front, line(name)) for name in "abc"]
    listed = (await front.client.get("/v1/files")).json()
    assert [each["id"] for each in listed["data"]] == ids[::-1]
    page = (await front.client.get(f"/v1/files?limit=1&after={ids[2]}&purpose=batch")).json()
    assert ([each["id"] for each in page["data"]], page["has_more"]) == ([ids[1]], True)
    assert (await front.client.get("/v1/files?order=asc")).json()["data"][0]["id"] == ids[0]
    assert (await front.client.get("/v1/files?purpose=batch_output")).json()["data"] == []
    described = (await front.client.get(f"/v1/files/{ids[0]}")).json()
    assert (described["filename"], described["purpose"], described["status"]) == ("x.jsonl", "batch", "processed")
    content = await front.client.get(f"/v1/files/{ids[0]}/content")
    assert content.text == json.dumps(line("a"))
    assert len(content.content) == described["bytes"]
    deleted = (await front.client.delete(f"/v1/files/{ids[0]}")).json()
    assert deleted == {"id": ids[0], "object": "file", "deleted": True}
    for path in (f"/v1/files/{ids[0]}", f"/v1/files/{ids[0]}/content", "/v1/files/batches.sqlite3/content"):
        assert (await front.client.get(path)).status_code == 404
    assert (await front.client.get("/v1/files/..%2Fbatches.sqlite3/content")).status_code == 400
    assert front.services.batches is not None
    assert sorted(path.name for path in front.services.batches.files_dir.iterdir()) == sorted(ids[1:])


@with_front(llamacpp=FakeOptions(decode_s=0.01))
async def test_a_file_that_a_batch_reads_stays(front: FakeFront) -> None:
    batch_id = await begun(front, line("a", max_tokens=4000))
    file_id = (await front.client.get(f"/v1/batches/{batch_id}")).json()["input_file_id"]
    refused = await front.client.delete(f"/v1/files/{file_id}")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "file_in_use")


async def test_nobody_writes_files_before_what_a_crash_left_is_swept(tmp_path: Path) -> None:
    async def answer(*_: object) -> LineEnd:
        raise AssertionError("there are no lines")

    batches = Batches(tmp_path, Config, answer)
    left = batches.files_dir / "file-1.part"
    left.parent.mkdir()
    left.write_bytes(b"x")
    is_let_go = threading.Event()
    batches.store.post(lambda _: is_let_go.wait(WITHIN_S), "stands before the sweep")
    running = asyncio.create_task(batches.run())
    await asyncio.sleep(0)
    opening = asyncio.create_task(batches.opened())
    await asyncio.sleep(0)
    assert not opening.done()
    is_let_go.set()
    assert await opening is batches
    assert not left.exists()
    running.cancel()
    await asyncio.wait([running])


FORM = {"content-type": "multipart/form-data; boundary=x"}


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"{}", {"content-type": "application/json"}, 415),
        (b"", {"content-type": "multipart/form-data"}, 415),
        (b"", FORM, 400),
        (b"--x\r\nContent-Disposition: form-data; name=purpose\r\n\r\nbatch\r\n--x--\r\n", FORM, 400),
        (b"--x\r\nContent-Disposition: form-data; name=file; filename=a\r\n\r\nabc", FORM, 400),
        (b"--x\r\nContent-Disposition: form-data; name=file; filename=a\r\n\r\nabc\r\n--x--\r\n", FORM, 400),
        (b"--x\r\nContent-Disposition: form-data; name=colour\r\n\r\nred\r\n--x--\r\n", FORM, 400),
        (b"--x\r\n" + b"A: b\r\n" * 100 + b"\r\nx\r\n--x--\r\n", FORM, 400),
        (b"--y\r\n\r\n--y--", FORM, 400),
        (b"\xff" * 1000, FORM, 400),
    ],
)
@with_front()
async def test_a_form_that_is_none_leaves_nothing(
    front: FakeFront, *, content: bytes, headers: dict[str, str], status: int
) -> None:
    answer = await front.client.post("/v1/files", content=content, headers=headers)
    assert answer.status_code == status, answer.text
    assert front.services.batches is not None
    folder = front.services.batches.files_dir
    assert not folder.exists() or list(folder.iterdir()) == []


@with_front()
async def test_a_file_that_is_too_large_is_cut_off(front: FakeFront) -> None:
    limits = BatchesConfig(max_file_bytes=100_000, max_bytes=150_000)
    front.fleet.set_config(msgspec.structs.replace(make_config(), batches=limits))

    async def upload(num_bytes: int) -> int:
        files = {"file": ("../../etc/passwd", b"x" * num_bytes)}
        answer = await front.client.post("/v1/files", files=files, data={"purpose": "batch"})
        if answer.status_code == 200:
            assert answer.json()["filename"] == "passwd"
        return answer.status_code

    assert await upload(100_001) == 413
    assert await upload(3_000_000) == 413
    assert await upload(90_000) == 200
    assert await upload(90_000) == 413
    assert await upload(60_000) == 200
    assert await upload(1) == 400
