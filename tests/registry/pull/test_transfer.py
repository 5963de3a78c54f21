"""Single faults and what exactly comes of them; the scripts of `test_faults.py` mix them."""

import resource
from pathlib import Path

import msgspec
import pytest

from registry.errors import (
    HubBusyError,
    HubGatedError,
    PullDiskFullError,
    PullError,
    TransferError,
    WrongHashError,
)
from registry.hub.retry import TroubleError
from registry.pull.events import PullEvent, Retrying
from registry.pull.partial import PartialFile, cut, is_sound, num_done, partial_bytes, prefix_end
from registry.pull.ranges import Span, announced_span
from tests.support.hub_faults import Fault
from tests.support.pull_bench import (
    SMALL,
    SMALL_HASTY,
    final_files,
    hidden_files,
    ignore,
    num_served,
    payload,
    pull_once,
    small_puller,
)
from tests.support.stub_hub import StubHub
from tests.support.waiting import WITHIN_S

REPO = "org/m-GGUF"
NAME = "m-Q4_0.gguf"
LARGE = payload(1, 300_000)
SMALL_FILE = payload(2, 50_000)


async def pull_with(
    root: Path, data: bytes, *faults: Fault, stall_s: float = WITHIN_S
) -> tuple[StubHub, list[PullEvent]]:
    events: list[PullEvent] = []
    with StubHub({REPO: {NAME: data}}) as hub:
        hub.faults[REPO, NAME] = list(faults)
        await pull_once(hub, root, REPO, token="secret", stall_s=stall_s, events=events)
    assert final_files(root) == {f"{REPO}/{NAME}": data}
    assert hidden_files(root) == []
    return hub, events


@pytest.mark.parametrize("kind", ["drop", "stall", "reset"])
@pytest.mark.parametrize("data", [LARGE, SMALL_FILE], ids=["large", "small"])
async def test_a_broken_answer_goes_on_where_it_broke(tmp_path: Path, kind: str, data: bytes) -> None:
    stall_s = 1.0 if kind == "stall" else WITHIN_S
    hub, events = await pull_with(tmp_path, data, Fault(kind, after=20_000), stall_s=stall_s)
    # What the kernel had not handed over when a reset came is lost; all else is kept.
    assert num_served(hub) <= len(data) + (20_000 if kind == "reset" else 0)
    assert any(isinstance(event, Retrying) for event in events)
    ranges = [seen.headers for seen in hub.file_requests(NAME) if "if-range" in seen.headers]
    assert ranges or kind == "reset"


async def test_large_files_come_over_several_connections_and_small_ones_in_one_request(tmp_path: Path) -> None:
    hub, _ = await pull_with(tmp_path / "a", LARGE)
    ranges = [seen.headers["range"] for seen in hub.file_requests(NAME)]
    assert len(ranges) == 10
    assert ranges[0] == "bytes=0-32767"
    hub, _ = await pull_with(tmp_path / "b", SMALL_FILE)
    assert ["range" in seen.headers for seen in hub.file_requests(NAME)] == [False]


async def test_a_server_without_ranges_is_asked_for_everything(tmp_path: Path) -> None:
    hub, _ = await pull_with(tmp_path, LARGE, Fault("ignore_range", is_forever=True))
    assert "range" not in hub.file_requests(NAME)[-1].headers


async def test_one_ignored_range_does_not_cost_what_is_there(tmp_path: Path) -> None:
    none = Fault("none")
    hub, _ = await pull_with(tmp_path, LARGE, none, none, none, Fault("ignore_range"))
    assert all("range" in seen.headers for seen in hub.file_requests(NAME))


async def test_a_flipped_bit_costs_one_more_transfer(tmp_path: Path) -> None:
    hub, _ = await pull_with(tmp_path, LARGE, Fault("flip", after=7))
    assert num_served(hub) == 2 * len(LARGE)


async def test_bits_that_are_always_wrong_are_an_error_and_are_not_kept(tmp_path: Path) -> None:
    with StubHub({REPO: {NAME: LARGE}}) as hub:
        hub.faults[REPO, NAME] = [Fault("flip", after=7, is_forever=True)]
        with pytest.raises(WrongHashError, match="was announced"):
            await pull_once(hub, tmp_path, REPO)
        assert num_served(hub) == 2 * len(LARGE)
        hub.faults.clear()
        await pull_once(hub, tmp_path, REPO)
    assert final_files(tmp_path) == {f"{REPO}/{NAME}": LARGE}


async def test_another_validator_for_bytes_of_a_known_hash_costs_nothing(tmp_path: Path) -> None:
    hub, _ = await pull_with(tmp_path, LARGE, Fault("none"), Fault("new_etag"))
    assert num_served(hub) <= len(LARGE) * 2


@pytest.mark.parametrize("kind", ["long", "short", "wrong_range", "wrong_total"])
async def test_a_server_that_always_announces_something_else_is_given_up(tmp_path: Path, kind: str) -> None:
    with StubHub({REPO: {NAME: LARGE}}) as hub:
        hub.faults[REPO, NAME] = [Fault(kind, is_forever=True)]
        with pytest.raises(TransferError, match=r"in place of .* pull again to go on"):
            await pull_once(hub, tmp_path, REPO, transfer=SMALL_HASTY)
    assert final_files(tmp_path) == {}


async def test_an_answer_that_goes_on_behind_its_end_is_refused(tmp_path: Path) -> None:
    with StubHub({REPO: {NAME: SMALL_FILE}}) as hub:
        hub.faults[REPO, NAME] = [Fault("chunked_long", is_forever=True)]
        with pytest.raises(TransferError, match="more than it announced, again and again"):
            await pull_once(hub, tmp_path, REPO, transfer=SMALL_HASTY)
    assert final_files(tmp_path) == {}


async def test_the_hubs_wish_to_wait_is_honoured(tmp_path: Path) -> None:
    _, events = await pull_with(tmp_path, SMALL_FILE, Fault("status", status=429, retry_after="1"))
    assert [event.delay_s for event in events if isinstance(event, Retrying)] == [1.0]
    with StubHub({REPO: {NAME: LARGE}}) as hub:
        hub.faults[REPO, NAME] = [Fault("status", status=503, retry_after="3600")]
        with pytest.raises(HubBusyError, match="come back in 3600 s"):
            await pull_once(hub, tmp_path / "b", REPO)


async def test_the_token_stays_with_the_hub_and_the_signed_address_is_used_again(tmp_path: Path) -> None:
    events: list[PullEvent] = []
    with StubHub({REPO: {NAME: LARGE}}) as hub:
        hub.is_redirecting = True
        hub.token = "secret"
        await pull_once(hub, tmp_path, REPO, token="secret", events=events)
        asked = hub.file_requests(f"{NAME}?signed=1")
        assert len(asked) == 10
        assert all("authorization" not in seen.headers for seen in asked)
        assert sum(seen.origin == "hub" for seen in hub.file_requests(NAME)) <= SMALL.num_connections


async def test_an_expired_signed_address_is_asked_for_anew(tmp_path: Path) -> None:
    none = Fault("none")
    with StubHub({REPO: {NAME: LARGE}}) as hub:
        hub.is_redirecting = True
        hub.faults[REPO, NAME] = [none, none, Fault("status", status=403), none, Fault("status", status=404)]
        await pull_once(hub, tmp_path, REPO)
    assert final_files(tmp_path) == {f"{REPO}/{NAME}": LARGE}


async def test_a_gated_file_says_where_to_accept_its_licence(tmp_path: Path) -> None:
    with StubHub({REPO: {NAME: LARGE}}) as hub:
        path = f"/{REPO}/resolve/{'a' * 39}1/{NAME}"
        hub.api_answers[path] = (403, {"X-Error-Code": "GatedRepo"}, b"")
        with pytest.raises(HubGatedError, match=f"licence at {hub.url}/{REPO} "):
            await pull_once(hub, tmp_path, REPO)


async def test_a_full_disk_keeps_what_came_and_a_later_pull_goes_on(tmp_path: Path) -> None:
    """The limit of a file's size stands for the full disk: the system refuses the write in the same way."""
    with StubHub({REPO: {NAME: SMALL_FILE}}) as hub:
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        async with small_puller(hub, tmp_path) as puller:
            plan = await puller.plan(REPO)
            resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, limits[1]))
            try:
                with pytest.raises(PullDiskFullError, match="What was fetched is kept"):
                    await puller.fetch(plan, ignore)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            await puller.fetch(plan, ignore)
    assert final_files(tmp_path) == {f"{REPO}/{NAME}": SMALL_FILE}


async def test_too_little_space_is_said_before_a_byte_is_fetched(tmp_path: Path) -> None:
    with StubHub({REPO: {NAME: LARGE}}) as hub:
        async with small_puller(hub, tmp_path, reserve_bytes=1 << 60) as puller:
            plan = await puller.plan(REPO)
            assert not plan.is_disk_enough
            with pytest.raises(PullDiskFullError, match=f"needs {len(LARGE) / 1e6:.1f} MB"):
                await puller.fetch(plan, ignore)
        assert hub.file_requests(NAME) == []


async def test_damaged_marks_are_no_marks(tmp_path: Path) -> None:
    path = tmp_path / "x.part"
    partial = PartialFile.open(path, 1_000, 300)
    partial.write(b"a" * 100, 0)
    partial.segments[0].done = 100
    partial.store(partial.snapshot())
    partial.close()
    assert partial_bytes(path, 1_000) == 100
    marks = path.with_suffix(".json")
    for text in (b"", b"{}", b"\xff", marks.read_bytes().replace(b'"done":100', b'"done":999')):
        marks.write_bytes(text)
        assert partial_bytes(path, 1_000) == 0
        reopened = PartialFile.open(path, 1_000, 300)
        assert reopened.num_done == 0
        reopened.close()


async def test_a_plain_url_is_pulled_and_begun_anew_when_the_file_changes(tmp_path: Path) -> None:
    with StubHub({REPO: {NAME: LARGE}}) as hub:
        url = f"{hub.url}/{REPO}/resolve/main/{NAME}"
        hub.faults[REPO, NAME] = [Fault("none"), Fault("none"), Fault("new_etag")]
        result = await pull_once(hub, tmp_path, url)
        assert result.paths[0].read_bytes() == LARGE
        assert result.plan.parts[0].files[0].sha256 is None
        hub.faults[REPO, NAME] = [Fault("no_etag", is_forever=True)]
        result = await pull_once(hub, tmp_path / "b", f"{url}?a=b")
        assert result.paths[0].read_bytes() == LARGE


def test_segments_cover_a_file_once() -> None:
    segments = cut(1_000, 300)
    assert [(segment.start, segment.end) for segment in segments] == [(0, 300), (300, 600), (600, 900), (900, 1_000)]
    segments[0].done, segments[2].done = 300, 700
    assert (num_done(segments), prefix_end(segments), is_sound(segments, 1_000)) == (400, 300, True)
    assert not is_sound(segments[1:], 1_000)
    assert not is_sound(segments, 999)
    assert not is_sound([msgspec.structs.replace(segments[0], done=301), *segments[1:]], 1_000)
    assert [segment.is_complete for segment in cut(0, 300)] == [True]


@pytest.mark.parametrize(
    "text", ["", "bytes */1000", "bytes 0-9", "bytes 1-9/1000", "bytes 0-10/1000", "bytes 0-9/999"]
)
def test_only_the_range_that_was_asked_for_is_taken(text: str) -> None:
    with pytest.raises(TroubleError):
        announced_span(206, {"content-range": text}, Span(0, 10), 1_000)


def test_a_shorter_range_from_the_right_place_is_taken() -> None:
    assert announced_span(206, {"content-range": "bytes 0-4/*"}, Span(0, 10), 1_000) == (0, 5)


def test_every_error_of_a_pull_has_a_code_of_its_own() -> None:
    classes = [PullError]
    for error in classes:
        classes.extend(error.__subclasses__())
    assert len({error.code for error in classes}) == len(classes)
