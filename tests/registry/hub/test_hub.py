import datetime as dt
import json
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from registry.errors import (
    HubAnswerError,
    HubAuthError,
    HubBusyError,
    HubError,
    HubGatedError,
    HubNotFoundError,
    HubOfflineError,
    HubUnreachableError,
)
from registry.hub.addresses import is_loopback, is_private, origin_of
from registry.hub.answers import read_repo_info
from registry.hub.client import MAX_JSON_BYTES, HubClient
from registry.hub.retry import Backoff, RetryPolicy, TroubleError
from registry.hub.web import HubSettings, Web, retry_after_s
from tests.support.pull_bench import HASTY
from tests.support.stub_hub import COMMIT, StubHub
from tests.support.waiting import WITHIN_S

REPO = "org/m-GGUF"
API = f"/api/models/{REPO}"


@pytest.fixture
def hub() -> Iterator[StubHub]:
    with StubHub({REPO: {"m-Q4_0.gguf": b"x" * 2_000, "README.md": b"hi"}}) as running:
        yield running


@asynccontextmanager
async def asking(hub: StubHub, token: str | None = None, *, is_offline: bool = False) -> AsyncIterator[HubClient]:
    settings = HubSettings(
        endpoint=hub.url, token=token, stall_s=WITHIN_S, answer_timeout_s=WITHIN_S, is_offline=is_offline
    )
    async with Web(settings) as web:
        yield HubClient(web, retry=HASTY)


def model(**changes: Any) -> bytes:
    sibling = {"rfilename": "a.gguf", "size": 5, "blobId": "b" * 40, "lfs": {"sha256": "c" * 64, "size": 5}}
    return json.dumps({"id": REPO, "sha": COMMIT, "siblings": [sibling], **changes}).encode()


async def test_a_repository_is_read_with_sizes_hashes_and_its_commit(hub: StubHub) -> None:
    async with asking(hub) as client:
        info = await client.model_info(REPO, "main")
    assert (info.repo, info.commit) == (REPO, COMMIT)
    large, small = info.files
    assert (large.path, large.size_bytes, large.git_sha1) == ("m-Q4_0.gguf", 2_000, None)
    assert (small.sha256, len(small.git_sha1 or "")) == (None, 40)
    assert hub.seen[0].headers["accept-encoding"] == "identity"


async def test_a_renamed_repository_is_found_under_its_new_name(hub: StubHub) -> None:
    hub.renamed["org/old"] = REPO
    async with asking(hub) as client:
        assert (await client.model_info("org/old")).repo == REPO


@pytest.mark.parametrize(
    ("status", "headers", "error", "way_out"),
    [
        (401, {}, HubAuthError, "set HF_TOKEN"),
        (403, {}, HubAuthError, "set HF_TOKEN"),
        (403, {"X-Error-Code": "GatedRepo"}, HubGatedError, f"accept its licence at .*/{REPO} "),
        (404, {"X-Error-Code": "RepoNotFound"}, HubNotFoundError, "no such repository"),
        (404, {"X-Error-Code": "RevisionNotFound"}, HubNotFoundError, "no such revision"),
        (400, {}, HubError, "answered 400"),
        (503, {}, HubUnreachableError, "answered 503.*Check the network"),
        (429, {"Retry-After": "3600"}, HubBusyError, "come back in 3600 s"),
        (302, {}, HubAnswerError, "without saying where"),
        (302, {"Location": "ftp://x/"}, HubAnswerError, "no web address"),
        (302, {"Location": "http://[::1"}, HubUnreachableError, "connection broke"),
        (200, {"Content-Encoding": "gzip"}, HubAnswerError, "encoding"),
    ],
)
async def test_a_refusal_names_its_reason_and_the_way_out(
    hub: StubHub, status: int, headers: dict[str, str], error: type[HubError], way_out: str
) -> None:
    hub.api_answers[API] = (status, headers, b"{}")
    async with asking(hub) as client:
        with pytest.raises(error, match=way_out):
            await client.model_info(REPO)


async def test_a_refused_token_is_not_asked_for_again(hub: StubHub) -> None:
    hub.token = "right"
    async with asking(hub, token="wrong") as client:
        with pytest.raises(HubAuthError, match="token was refused"):
            await client.model_info(REPO)
    async with asking(hub, token="right") as client:
        assert (await client.model_info(REPO)).commit == COMMIT


async def test_a_bomb_and_an_endless_answer_are_refused(hub: StubHub) -> None:
    async with asking(hub) as client:
        hub.api_answers[API] = (200, {"Content-Encoding": "gzip"}, zlib.compress(b" " * 50_000_000))
        with pytest.raises(HubAnswerError, match="encoding"):
            await client.model_info(REPO)
        hub.api_answers[API] = (200, {}, b" " * (MAX_JSON_BYTES + 1))
        with pytest.raises(HubAnswerError, match="more than"):
            await client.model_info(REPO)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"null", b"\xff", b"[" * 200_000, b'{"id":' + b"[" * 100_000,
        model(sha=None), model(sha="../../x"), model(sha="A" * 40),
        model(id="../../x"), model(id="org/..", sha=COMMIT), model(siblings=None), model(siblings=[{"rfilename": "a"}]),
        model(siblings=[{"rfilename": "../../evil", "size": 1, "blobId": "b" * 40}]),
        model(siblings=[{"rfilename": "/etc/evil", "size": 1, "blobId": "b" * 40}]),
        model(siblings=[{"rfilename": "C:\\x", "size": 1, "blobId": "b" * 40}]),
        model(siblings=[{"rfilename": "a\nb", "size": 1, "blobId": "b" * 40}]),
        model(siblings=[{"rfilename": "a", "size": -1, "blobId": "b" * 40}]),
        model(siblings=[{"rfilename": "a", "size": 1 << 60, "blobId": "b" * 40}]),
        model(siblings=[{"rfilename": "a", "size": 1, "blobId": "../../../../x"}]),
        model(siblings=[{"rfilename": "a", "size": 1, "blobId": "b" * 40, "lfs": {}}]),
        model(siblings=[{"rfilename": "a", "size": 1, "blobId": "b" * 40}] * 2),
        model(siblings=[{"rfilename": f"{i}", "size": 1, "blobId": "b" * 40} for i in range(20_001)]),
    ],
)  # fmt: skip
def test_a_hostile_answer_is_refused(body: bytes) -> None:
    with pytest.raises(HubAnswerError) as caught:
        read_repo_info(body)
    assert str(caught.value).isprintable()


async def test_a_search_looks_into_what_it_finds(hub: StubHub) -> None:
    hub.repos["other/x"] = {"a.txt": b"1"}
    async with asking(hub) as client:
        (hit,) = await client.search("M-gguf", author="org", library="gguf")
        assert (hit.repo, hit.num_downloads) == (REPO, 5)
        assert hit.info is not None
        assert len(hit.info.files) == 2
        assert "author=org" in hub.seen[0].path
        hub.api_answers[API] = (403, {"X-Error-Code": "GatedRepo"}, b"")
        (hit,) = await client.search("m-gguf")
        assert hit.info is None


async def test_a_search_follows_pages_on_the_hub_only_and_not_for_ever(hub: StubHub) -> None:
    page = json.dumps([{"id": f"org/r{number}"} for number in range(3)] + [{"id": "../../x"}]).encode()
    hub.api_answers["/api/models"] = (200, {"Link": f'<{hub.url}/api/models?cursor=x>; rel="next"'}, page)
    async with asking(hub) as client:
        assert [hit.repo for hit in await client.search("r", limit=100)] == ["org/r0", "org/r1", "org/r2"]
        assert sum(seen.path.startswith("/api/models?") for seen in hub.seen) == 5
        hub.api_answers["/api/models"] = (200, {"Link": f'<{hub.cdn_url}/api/models>; rel="next"'}, page)
        with pytest.raises(HubAnswerError, match="another host"):
            await client.search("r", limit=100)


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/x",
        "http://10.0.0.1/x",
        "https://127.0.0.1/x",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://[::ffff:10.0.0.1]/",
    ],
)
async def test_a_public_hub_may_not_lead_into_a_private_network(location: str) -> None:
    async with Web(HubSettings(endpoint="https://hub.example")) as web:
        with pytest.raises(HubAnswerError, match=r"private network|not https"):
            async with web.get(location):
                pass


def test_hosts_are_judged_by_their_names() -> None:
    assert is_loopback("localhost")
    assert is_loopback("a.localhost.")
    assert not is_loopback("localhost.evil.com")
    assert is_private("192.168.1.1")
    assert not is_private("huggingface.co")
    assert origin_of("https://huggingface.co/x") == ("https", "huggingface.co", 443)
    assert origin_of("https://hub@evil/x") is None


async def test_a_hub_without_an_address_or_with_unreadable_certificates_is_refused(tmp_path: Path) -> None:
    for endpoint in ("hub", "ftp://hub", "https://", "https://user@hub", "https://[::1"):
        with pytest.raises(HubUnreachableError):
            Web(HubSettings(endpoint=endpoint))
    for settings in (HubSettings(endpoint="https://hub:x"), HubSettings(ca_file=tmp_path / "none.pem")):
        async with Web(settings) as web:
            with pytest.raises(HubUnreachableError):
                await HubClient(web).model_info("org/repo")


async def test_nothing_is_asked_where_the_user_wants_no_network(hub: StubHub) -> None:
    async with asking(hub, is_offline=True) as client:
        with pytest.raises(HubOfflineError, match="HF_HUB_OFFLINE"):
            await client.model_info(REPO)
        with pytest.raises(HubOfflineError):
            await client.search("tiny")
    assert hub.seen == []


async def test_nobody_there_is_said_after_some_attempts() -> None:
    async with Web(HubSettings(endpoint="http://127.0.0.1:1")) as web:
        client = HubClient(web, retry=RetryPolicy(base_s=0.001, cap_s=0.002, give_up_after_s=0.05))
        with pytest.raises(HubUnreachableError, match="no connection"):
            await client.model_info(REPO)


def test_retry_after_is_seconds_or_a_date() -> None:
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    assert retry_after_s("120", now) == 120
    assert retry_after_s("Thu, 01 Jan 2026 00:01:00 GMT", now) == 60
    assert retry_after_s("Wed, 31 Dec 2025 00:00:00 GMT", now) == 0
    assert [retry_after_s(value, now) for value in (None, "-1", "soon", "")] == [None] * 4


def test_patience_grows_with_failures_and_starts_anew_with_progress() -> None:
    policy = RetryPolicy(base_s=1, cap_s=8, give_up_after_s=100, max_violations=2, max_retry_after_s=60)
    backoff = Backoff(policy, now=0, draw=lambda: 1.0)
    trouble = TroubleError("x")
    assert [backoff.delay_after(trouble, 1) for _ in range(5)] == [1, 2, 4, 8, 8]
    assert backoff.delay_after(TroubleError("x", retry_after_s=50), 1) == 50
    assert backoff.delay_after(TroubleError("x", retry_after_s=61), 1) is None
    assert backoff.delay_after(trouble, 101) is None
    backoff.on_progress(101)
    assert backoff.delay_after(trouble, 150) == 1
    violation = TroubleError("x", is_violation=True)
    assert [backoff.delay_after(violation, 150) is None for _ in range(3)] == [False, False, True]
