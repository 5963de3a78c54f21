"""The group of ranks in one process: joining it, and draws that all ranks take from rank 0.

MLX's messages between ranks have no tags: they are told apart by their order alone, which one stream keeps. Two streams
that talk in turns were seen to give wrong tokens without any error. So everything that a model over ranks computes is
on `RankGroup.stream`, for the life of the group.
"""

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mlx.core as mx

from backends.errors import LoadError
from backends.mlx.library import mlx_errors
from backends.mlx.ranks.messages import Welcome
from backends.mlx.sampler import Sampler, greedy


class RankGroup:
    """A process's place among the ranks; one in the life of a process, as in MLX itself.

    Args:
        group: MLX's.

    Attributes:
        stream: For all that is computed with a model that is spread over the ranks. Where a GPU computes, MLX talks on
            the CPU's default stream meanwhile, which is one too.
    """

    def __init__(self, group: Any) -> None:
        self.mlx_group = group
        self.rank = int(group.rank())
        self.size = int(group.size())
        self.stream: Any = mx.default_stream(mx.default_device())
        self._last: mx.array | None = None
        self._greedy = _SharedDraws(self, greedy)

    def shared(self, sampler: Sampler) -> Sampler:
        """Return a sampler whose draws on rank 0 are those of all ranks; one and the same for all greedy sequences.

        Constraints, penalties, seeds and log-probabilities are so rank 0's alone, and processors that round otherwise
        draw the same.
        """
        return self._greedy if sampler is greedy else _SharedDraws(self, sampler)

    def share(self, tokens: mx.array) -> mx.array:
        """Return rank 0's tokens, uint32, any shape; in the order of these calls, however the graph is walked."""
        if self._last is not None:
            tokens = mx.depends(tokens, self._last)
        self._last = mx.distributed.all_sum(tokens, group=self.mlx_group)
        return self._last


class _SharedDraws:
    """Draws on rank 0, and takes over what was drawn on the others."""

    def __init__(self, group: RankGroup, sampler: Sampler) -> None:
        self._group = group
        self._sampler = sampler

    def __call__(self, logprobs: mx.array) -> mx.array:
        """Draw; shapes as `Sampler` has them."""
        if self._group.rank == 0:
            return self._group.share(self._sampler(logprobs).astype(mx.uint32))
        # Zeros add nothing to rank 0's tokens; they come after this rank's share of the model, as rank 0's do.
        nothing = mx.depends(mx.zeros(logprobs.shape[:1], mx.uint32), logprobs)
        return self._group.share(nothing)


def join(rank: int, welcome: Welcome) -> RankGroup:
    """Meet the other ranks; returns when all are there, or MLX gives up.

    Raises:
        LoadError: They do not come together.
    """
    with tempfile.TemporaryDirectory(prefix="mlxr-ranks-") as folder:
        path = Path(folder, "group.json")
        path.write_text(json.dumps(_file_of(welcome)), encoding="utf-8")
        # MLX asks the environment, and nothing else: there is no other way to tell it.
        os.environ.update(_environment(rank, welcome, path))
        with mlx_errors(LoadError, f"bring the {len(welcome.addresses)} ranks together over {welcome.backend}"):
            group = mx.distributed.init(strict=True, backend=welcome.backend)
    return RankGroup(group)


def _file_of(welcome: Welcome) -> Sequence[Sequence[str | None]]:
    """Return what MLX reads. Source: mlx, python/mlx/_distributed_utils/launch.py: `launch_ring`, `launch_jaccl`."""
    return welcome.devices if welcome.backend == "jaccl" else [[address] for address in welcome.addresses]


def _environment(rank: int, welcome: Welcome, path: Path) -> dict[str, str]:
    if welcome.backend == "jaccl":
        return {
            "MLX_RANK": str(rank),
            "MLX_JACCL_COORDINATOR": welcome.addresses[0],
            "MLX_IBV_DEVICES": str(path),
            "MLX_METAL_FAST_SYNCH": "1",  # MLX's documentation, "Distributed Communication": for low latency
        }
    return {"MLX_RANK": str(rank), "MLX_HOSTFILE": str(path)}
