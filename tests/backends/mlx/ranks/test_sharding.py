"""Which models can be shared out among how many ranks, and what is said where one cannot."""

import json
import shutil
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest
from safetensors.numpy import load_file, save_file

from backends.errors import LoadError
from backends.mlx.ranks.group import RankGroup
from backends.mlx.ranks.sharding import check_room, folder_digest, load_share, why_uneven


class ManyRanks(RankGroup):
    """A group that is larger than it is."""

    def __init__(self, size: int) -> None:
        super().__init__(mx.distributed.init(backend="mpi"))
        self.size = size


@pytest.mark.parametrize(
    ("config", "num_ranks", "words"),
    [
        ({"num_attention_heads": 4, "num_key_value_heads": 2}, 2, None),
        ({"num_attention_heads": 4, "num_key_value_heads": 2}, 4, "2 KV heads do not divide by 4 ranks"),
        ({"num_attention_heads": 6}, 4, "6 attention heads"),
        ({"text_config": {"num_key_value_heads": 3}}, 2, "3 KV heads"),
        ({}, 3, None),
    ],
)
def test_heads_have_to_divide_by_the_ranks(config: dict[str, Any], num_ranks: int, words: str | None) -> None:
    found = why_uneven(config, num_ranks)
    assert found is None if words is None else words in str(found)


def test_heads_that_do_not_divide_are_refused_with_the_way_out(tiny_mlx: Path) -> None:
    with pytest.raises(LoadError, match="llama: its 4 attention heads do not divide by 3 ranks; give it a number"):
        load_share(tiny_mlx, ManyRanks(3))


def test_a_type_that_cannot_be_shared_out_is_refused_by_name(tiny_mlx: Path, tmp_path: Path) -> None:
    """mlx-lm's code for gemma has neither `shard` nor `pipeline`."""
    folder = tmp_path / "gemma"
    shutil.copytree(tiny_mlx, folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "gemma", "head_dim": 16}
    (folder / "config.json").write_text(json.dumps(config))
    weights = load_file(folder / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "mlx"})
    with pytest.raises(LoadError, match=r"^gemma: mlx-lm's code .* neither .* take hosts away"):
        load_share(folder, ManyRanks(2))


def test_code_that_a_model_brings_is_not_run(tiny_mlx: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bringing"
    shutil.copytree(tiny_mlx, folder)
    config = json.loads((folder / "config.json").read_text()) | {"model_file": "own.py"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text(f"open({str(tmp_path / 'run')!r}, 'w')")
    with pytest.raises(ValueError, match="custom module"):
        load_share(folder, ManyRanks(2))
    assert not (tmp_path / "run").exists()


def test_folders_are_told_apart_by_sizes_and_small_files(tiny_mlx: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny_mlx, copy)
    assert folder_digest(copy) == folder_digest(tiny_mlx)
    with (copy / "model.safetensors").open("ab") as file:
        file.write(b"x")
    longer = folder_digest(copy)
    (copy / "tokenizer.json").write_text("{}")
    assert len({folder_digest(tiny_mlx), longer, folder_digest(copy)}) == 3


def test_a_share_that_memory_does_not_hold_is_refused_with_the_numbers(tmp_path: Path) -> None:
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.truncate(1 << 43)  # a hole
    with pytest.raises(LoadError, match=r"no memory for its share: 4398\.05 GB of weights"):
        check_room(tmp_path, 2)
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.truncate(1 << 10)
    check_room(tmp_path, 2)
