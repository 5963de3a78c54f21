"""A rank that follows: it makes the calls it is told, and ends where it has come to something else than rank 0."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import mlx.core as mx
import msgspec
import pytest

from backends.mlx.ranks.following import FollowingEngines
from backends.mlx.ranks.group import RankGroup
from backends.mlx.ranks.ledger import RanksDisagreeError
from backends.mlx.ranks.messages import (
    Call,
    Close,
    Fork,
    Insert,
    Load,
    Loaded,
    Mirrored,
    Piece,
    Refused,
    Remove,
    Retire,
    Step,
    StepInput,
)
from backends.mlx.ranks.sharding import folder_digest
from backends.wire.load import LoadSpec

pytestmark = pytest.mark.slow

IDS = [10, 20, 30]


class Follower:
    """A rank that is alone in its group, and what rank 0 would know of it."""

    def __init__(self, folder: Path) -> None:
        # Of a backend that is not here: of any, MLX gives the group that a test before has made, whose peers are gone.
        self.engines = FollowingEngines(RankGroup(mx.distributed.init(backend="mpi")))
        spec = LoadSpec(model_path=str(folder), context_length=64, max_sequences=2)
        assert self.engines.make(Mirrored(1, 0, Load(spec, folder_digest(folder)))) == Loaded()

    @property
    def agreed(self) -> int:
        return self.engines._models[1].ledger.value

    def make(self, call: Call, agreed: int | None = None) -> None:
        self.engines.make(Mirrored(1, self.agreed if agreed is None else agreed, call))

    def insert(self, sequence_id: int = 1) -> None:
        self.make(
            Insert(
                sequence_id=sequence_id,
                token_ids=list(IDS),
                num_prompt_tokens=len(IDS),
                max_output_tokens=9,
                is_greedy=True,
                is_scored=False,
            )
        )

    def step(self, length: int = len(IDS), last_id: int = IDS[-1]) -> None:
        self.make(Step((Piece(1, 0, len(IDS), length, last_id),), (), 8, 8))


@pytest.fixture
def follower(tiny_mlx: Path) -> Iterator[Follower]:
    follower = Follower(tiny_mlx)
    yield follower
    follower.engines.make(Mirrored(1, 0, Close()))


def test_calls_that_agree_are_made(follower: Follower) -> None:
    came_to = [follower.agreed]
    calls: list[Callable[[], None]] = [
        follower.insert,
        follower.step,
        lambda: follower.make(Retire(1)),
        lambda: follower.insert(2),
        lambda: follower.make(Fork(1, 2, 2)),
        lambda: follower.make(Remove(2)),
    ]
    for call in calls:
        call()
        came_to.append(follower.agreed)
    # What rank 0 compares has the outcomes of steps, of retired sequences and of forks.
    assert [after != before for before, after in pairwise(came_to)] == [False, True, True, False, True, False]


def test_a_call_that_came_to_something_else_on_rank_0_ends_it(follower: Follower) -> None:
    follower.insert()
    follower.make(Fork(7, 1, 2))
    with pytest.raises(RanksDisagreeError, match="what came before Step"):
        follower.make(Step((), (), 8, 8), agreed=follower.agreed ^ 1)


@pytest.mark.parametrize(("length", "last_id"), [(4, 30), (3, 31)])
def test_other_tokens_than_rank_0_has_end_it(follower: Follower, length: int, last_id: int) -> None:
    follower.insert()
    with pytest.raises(RanksDisagreeError, match=f"{length} tokens of sequence 1 with {last_id}"):
        follower.step(length, last_id)


@pytest.mark.parametrize("call", [Step((Piece(5, 0, 1, 1, 1),), (), 8, 8), StepInput(3, 4)])
def test_what_it_was_never_told_of_ends_it(follower: Follower, call: Call) -> None:
    with pytest.raises(RanksDisagreeError):
        follower.make(call)


def test_a_model_it_has_not_loaded_ends_it(follower: Follower) -> None:
    with pytest.raises(RanksDisagreeError):
        follower.engines.make(Mirrored(2, 0, Remove(1)))


def test_other_files_than_on_rank_0s_host_are_refused(follower: Follower, tiny_mlx: Path) -> None:
    answer = follower.engines.make(Mirrored(2, 0, Load(LoadSpec(model_path=str(tiny_mlx)), "other")))
    assert isinstance(answer, Refused)
    assert "mlxr hosts check" in answer.message


def test_a_folder_that_is_not_there_is_refused_by_name(follower: Follower, tmp_path: Path) -> None:
    answer = follower.engines.make(Mirrored(2, 0, Load(LoadSpec(model_path=str(tmp_path / "nowhere")), "x")))
    assert isinstance(answer, Refused)
    assert "nowhere" in answer.message


def test_every_call_survives_its_way(tiny_mlx: Path) -> None:
    spec = LoadSpec(model_path=str(tiny_mlx), context_length=64)
    sent = Mirrored(1, 5, Load(spec, "d"))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(sent), type=Mirrored) == sent
