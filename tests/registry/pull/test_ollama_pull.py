"""Pulls by names of an Ollama registry: what is planned, what lies where, what a hostile registry gets done."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from registry.checksums.hashing import hash_artifact, pending_hashes
from registry.errors import (
    HubAnswerError,
    HubAuthError,
    HubNotFoundError,
    NothingToPullError,
    PullConflictError,
    PullError,
)
from registry.hub.client import HubClient
from registry.hub.ollama.client import OllamaRegistry, OllamaWeb
from registry.hub.ollama.manifest import LICENSE_LAYER
from registry.hub.web import HubSettings, Web
from registry.pull import Puller, PullOptions, PullSettings, open_puller
from registry.pull.events import PullEvent
from registry.scan import register_path
from registry.settings import ModelSettings, PresetMessage
from registry.store import Registry
from tests.registry.gguf_builder import Tensor, build, llama_metadata
from tests.registry.scan_steps import MMPROJ
from tests.support.hub_faults import random_script
from tests.support.pull_bench import HASTY, SMALL_HASTY, final_files, payload
from tests.support.stub_ollama_registry import Published, StubOllamaRegistry, digest_of, published
from tests.support.waiting import WITHIN_S

MODEL = build(llama_metadata(), [Tensor()])
NAME = "library/tiny:135m"
TINY = "ollama://tiny:135m"
HIDDEN = "http://127.0.0.1:1"
NUM_SCRIPTS = 90


@asynccontextmanager
async def opened(registry: StubOllamaRegistry, root: Path, *, stall_s: float = WITHIN_S) -> AsyncIterator[Puller]:
    settings = PullSettings(transfer=SMALL_HASTY, reserve_bytes=0)
    hub = HubSettings(endpoint=HIDDEN, token="secret")
    own = HubSettings(endpoint=registry.url, stall_s=stall_s, answer_timeout_s=WITHIN_S)
    async with Web(hub) as web, OllamaWeb(own, num_connections=32) as other:
        ollama = OllamaRegistry(HubClient(other, retry=HASTY))
        yield Puller(HubClient(web), root / "models", root / "registry.sqlite3", settings, ollama=ollama)


async def pull(registry: StubOllamaRegistry, root: Path, reference: str = TINY) -> None:
    async with opened(registry, root) as puller:
        await puller.fetch(await puller.plan(reference), lambda _: None)


async def test_a_name_becomes_one_verified_file_and_the_publishers_settings(tmp_path: Path) -> None:
    params = {"stop": ["<|im_end|>"], "temperature": 0.6, "num_ctx": 2048, "num_keep": 5, "top_k": 0}
    turns = json.dumps([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}])
    model = published(MODEL, params=params, system="Be brief.", messages=turns, license="MIT")
    with StubOllamaRegistry({NAME: model}) as registry:
        async with opened(registry, tmp_path) as puller:
            plan = await puller.plan(TINY)
            await puller.fetch(plan, lambda _: None)
        fetched = registry.blob_requests()
    assert plan.name == "tiny:135m"
    assert plan.settings == ModelSettings(
        stop=("<|im_end|>",), temperature=0.6, context_length=2048, system="Be brief.", license="MIT",
        messages=(PresetMessage("user", "Hi"), PresetMessage("assistant", "Ho")),
    )  # fmt: skip
    assert [note.partition(" cannot")[0] for note in plan.notes] == ["Left out: 'num_keep'"]
    assert final_files(tmp_path) == {"ollama/library/tiny/135m/tiny-135m.gguf": MODEL}
    assert not any(digest_of(model.layers[1][1]) in path for path in fetched), "Go templates are of no use here"
    assert not any("authorization" in seen.headers for seen in registry.seen)


@pytest.mark.parametrize(
    ("reference", "served", "name"),
    [
        ("ollama://tiny", "library/tiny:latest", "tiny:latest"),
        ("ollama://Me/Tiny:Q8_0", "Me/Tiny:Q8_0", "me/tiny:q8_0"),
        ("OLLAMA://ollama.com/library/tiny:1b", "library/tiny:1b", "tiny:1b"),
        ("ollama://registry.ollama.ai/me/tiny", "me/tiny:latest", "me/tiny:latest"),
    ],
)
async def test_names_are_read_as_ollama_reads_them(tmp_path: Path, reference: str, served: str, name: str) -> None:
    with StubOllamaRegistry({served: published(MODEL)}) as registry:
        async with opened(registry, tmp_path) as puller:
            assert (await puller.plan(reference)).name == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "../x",
        "a/../b",
        "a/b/c",
        "x:..",
        "x:",
        ":x",
        "a//b",
        "x:a/b",
        "-x",
        "x:1:2",
        "..%2f..",
        "a" * 81,
        "x?y",
        "é",
    ],
)
async def test_hostile_names_are_refused_before_anything_is_asked(tmp_path: Path, name: str) -> None:
    with StubOllamaRegistry({NAME: published(MODEL)}) as registry:
        with pytest.raises(PullError, match=r"name|model|character"):
            await pull(registry, tmp_path, f"ollama://{name}")
        assert registry.seen == []


async def test_redirects_to_another_host_are_followed_and_a_second_pull_fetches_nothing(tmp_path: Path) -> None:
    with StubOllamaRegistry({NAME: published(MODEL)}) as registry:
        registry.is_redirecting = True
        await pull(registry, tmp_path)
        assert {seen.origin for seen in registry.seen} == {"hub", "cdn"}
        before = len(registry.blob_requests())
        await pull(registry, tmp_path)
        assert len(registry.blob_requests()) == before


async def test_a_tag_that_moved_on_replaces_the_file(tmp_path: Path) -> None:
    with StubOllamaRegistry({NAME: published(MODEL)}) as registry:
        await pull(registry, tmp_path)
        registry.models[NAME] = published(MODEL + bytes(32))
        await pull(registry, tmp_path)
    assert final_files(tmp_path) == {"ollama/library/tiny/135m/tiny-135m.gguf": MODEL + bytes(32)}


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (401, HubAuthError, "only public models"),
        (403, HubAuthError, "only public models"),
        (404, HubNotFoundError, "file does not exist"),
        (429, PullError, "429"),
        (500, PullError, "500"),
        (418, PullError, "418"),
    ],
)
async def test_refusals_of_the_registry_are_told_in_one_sentence(
    tmp_path: Path, status: int, error: type[PullError], words: str
) -> None:
    with StubOllamaRegistry({NAME: published(MODEL)}) as registry:
        registry.api_answers["/v2/library/tiny/manifests/135m"] = (status, {}, b"{}")
        with pytest.raises(error, match=words) as refused:
            await pull(registry, tmp_path)
    assert "HF_TOKEN" not in str(refused.value)
    assert final_files(tmp_path) == {}


def layer(**changes: Any) -> dict[str, Any]:
    return {
        "mediaType": "application/vnd.ollama.image.model",
        "digest": digest_of(MODEL),
        "size": len(MODEL),
    } | changes


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b'{"layers": 1}', b'{"layers": [1]}', b"\xff\xfe", b"[" * 200_000,
        json.dumps({"layers": []}).encode(),
        json.dumps({"layers": [layer(), layer()]}).encode(),
        json.dumps({"layers": [layer(), layer(mediaType="application/vnd.ollama.image.adapter")]}).encode(),
        json.dumps({"layers": [layer(mediaType="application/vnd.ollama.image.tensor")]}).encode(),
        json.dumps({"layers": [layer(digest="sha256:../../../../etc/passwd")]}).encode(),
        json.dumps({"layers": [layer(digest=digest_of(MODEL).upper())]}).encode(),
        json.dumps({"layers": [layer(digest=digest_of(MODEL) + "\n")]}).encode(),
        json.dumps({"layers": [layer(digest="")]}).encode(),
        json.dumps({"layers": [layer(size=-1)]}).encode(),
        json.dumps({"layers": [layer(size=1 << 62)]}).encode(),
        json.dumps({"layers": [layer(), *[layer(mediaType="x")] * 64]}).encode(),
        json.dumps({"layers": [layer()], "more": "x" * (300 << 10)}).encode(),
    ],
)  # fmt: skip
async def test_manifests_that_cannot_be_are_refused(tmp_path: Path, body: bytes) -> None:
    with StubOllamaRegistry({NAME: published(MODEL)}) as registry:
        registry.api_answers["/v2/library/tiny/manifests/135m"] = (200, {}, body)
        with pytest.raises((HubAnswerError, NothingToPullError)):
            await pull(registry, tmp_path)
        assert registry.blob_requests() == []
    assert final_files(tmp_path) == {}


async def test_wrong_bytes_are_never_at_a_final_path(tmp_path: Path) -> None:
    other = bytes(len(MODEL))
    with StubOllamaRegistry({NAME: published(MODEL)}) as registry:
        path = f"/v2/library/tiny/blobs/{digest_of(MODEL)}"
        registry.api_answers[path] = (200, {}, other)
        with pytest.raises(PullError, match="hash"):
            await pull(registry, tmp_path)
    assert final_files(tmp_path) == {}


async def test_small_layers_with_other_bytes_are_refused_and_large_ones_left_out(tmp_path: Path) -> None:
    model = published(MODEL, system="Be brief.", license="x" * 70_000)
    with StubOllamaRegistry({NAME: model}) as registry:
        async with opened(registry, tmp_path) as puller:
            plan = await puller.plan(TINY)
            assert plan.notes == (f"A {LICENSE_LAYER} of 70000 bytes is left out; 65536 do.",)
            registry.api_answers[f"/v2/library/tiny/blobs/{digest_of(b'Be brief.')}"] = (200, {}, b"Be evil..")
            with pytest.raises(HubAnswerError, match="other bytes"):
                await puller.plan(TINY)


async def test_a_projector_comes_along_unless_it_is_to_stay(tmp_path: Path) -> None:
    model = Published((*published(MODEL).layers, ("projector", MMPROJ)))
    with StubOllamaRegistry({NAME: model}) as registry:
        await pull(registry, tmp_path)
        assert [Path(file).name for file in final_files(tmp_path)] == ["mmproj-tiny-135m.gguf", "tiny-135m.gguf"]
        with Registry(tmp_path / "registry.sqlite3") as catalogue:
            path = tmp_path / "models" / "ollama" / "library" / "tiny" / "135m" / "tiny-135m.gguf"
            (artifact,) = register_path(catalogue, path).artifacts
        assert artifact.mmproj_path == str(path.with_name("mmproj-tiny-135m.gguf"))
        async with opened(registry, tmp_path) as puller:
            (part,) = (await puller.plan(TINY, PullOptions(vision=False))).parts
            assert (len(part.files), part.has_projector) == (1, False)


async def test_a_projector_that_is_demanded_must_be_there(tmp_path: Path) -> None:
    with StubOllamaRegistry({NAME: published(MODEL)}) as registry:
        async with opened(registry, tmp_path) as puller:
            with pytest.raises(NothingToPullError, match="no vision projector; leave out --vision"):
                await puller.plan(TINY, PullOptions(vision=True))


async def test_the_settings_of_an_open_puller_name_the_registry(tmp_path: Path) -> None:
    with StubOllamaRegistry({NAME: published(MODEL)}) as registry:
        hub = HubSettings(endpoint=HIDDEN, token="secret", ollama_endpoint=registry.url)
        async with open_puller(hub, tmp_path / "models", tmp_path / "registry.sqlite3") as puller:
            await puller.plan(TINY)
        assert all("authorization" not in seen.headers for seen in registry.seen)


async def test_a_name_that_has_these_bytes_elsewhere_needs_no_transfer(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.gguf"
    elsewhere.write_bytes(MODEL)
    with (
        StubOllamaRegistry({NAME: published(MODEL, system="Hi.")}) as registry,
        Registry(tmp_path / "registry.sqlite3") as catalogue,
    ):
        register_path(catalogue, elsewhere, name="tiny:135m")
        for task in pending_hashes(catalogue):
            hash_artifact(catalogue, task)
        async with opened(registry, tmp_path) as puller:
            plan = await puller.plan(TINY)
            assert (plan.parts, plan.name, plan.settings.system) == ((), "tiny:135m", "Hi.")
            result = await puller.fetch(plan, lambda _: None)
            assert result.paths == ()
            assert (await puller.plan(TINY, PullOptions(name="other"))).parts
            registry.models[NAME] = published(MODEL + bytes(32))
            with pytest.raises(PullConflictError, match="taken by other bytes"):
                await puller.plan(TINY)
    assert final_files(tmp_path) == {}


async def run_script(registry: StubOllamaRegistry, root: Path, seed: int) -> str | None:
    """Pull, and once more when that failed. Give the code of the last error."""
    name = f"library/m{seed}:x"
    rng = random.Random(seed)
    data = registry.models[name].layers[0][1]
    registry.faults[name, "model"] = random_script(rng, len(data))
    if seed % 3 == 0:
        registry.faults[name, "manifest"] = random_script(rng, 1)
    events: list[PullEvent] = []
    code: str | None = None
    async with opened(registry, root, stall_s=0.15) as puller:
        for _ in range(2):
            try:
                async with asyncio.timeout(WITHIN_S):
                    await puller.fetch(await puller.plan(f"ollama://m{seed}:x"), events.append)
            except PullError as exc:
                code = exc.code
            else:
                return None
            assert final_files(root) == {}
    return code


@pytest.mark.slow
async def test_every_script_of_faults_ends_in_the_right_bytes_or_a_clean_error(tmp_path: Path) -> None:
    sizes = [0, 1, 700, 60_000, 70_000, 200_000]
    models = {
        f"library/m{seed}:x": published(payload(seed, sizes[seed % len(sizes)]), params={"temperature": 0.5})
        for seed in range(NUM_SCRIPTS)
    }
    codes: dict[int, str | None] = {}
    slots = asyncio.Semaphore(8)
    with StubOllamaRegistry(models) as registry:

        async def run(seed: int) -> None:
            async with slots:
                codes[seed] = await run_script(registry, tmp_path / str(seed), seed)

        async with asyncio.TaskGroup() as group:
            for seed in range(NUM_SCRIPTS):
                group.create_task(run(seed))
    for seed, code in codes.items():
        data = models[f"library/m{seed}:x"].layers[0][1]
        expected = {} if code is not None else {f"ollama/library/m{seed}/x/m{seed}-x.gguf": data}
        assert final_files(tmp_path / str(seed)) == expected, (seed, code)
        assert {path.name for path in (tmp_path / str(seed)).iterdir()} <= {
            "models", "registry.sqlite3", "registry.sqlite3-wal", "registry.sqlite3-shm"
        }  # fmt: skip
    assert sum(code is None for code in codes.values()) >= NUM_SCRIPTS // 2
    assert all("authorization" not in seen.headers for seen in registry.seen)
    assert {code for code in codes.values() if code is not None} <= {
        "hub_bad_answer", "hub_busy", "hub_error", "hub_not_found", "hub_unauthorized", "hub_unreachable",
        "transfer_failed", "wrong_hash",
    }  # fmt: skip
