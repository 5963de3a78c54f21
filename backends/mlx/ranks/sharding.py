"""A rank's share of a model: a part of each layer (tensor parallel), else some of the layers (pipeline).

No code that a model brings is ever run.
"""

import hashlib
from pathlib import Path
from typing import Any, Final

from mlx_lm.utils import load_model, load_tokenizer

from backends.errors import LoadError
from backends.machine.current import current_platform
from backends.mlx.loading import TOKENIZER_CONFIG, LoadedWeights
from backends.mlx.ranks.group import RankGroup

_HEADS: Final = ("num_attention_heads", "num_key_value_heads")
_CONFIGS: Final = ("config.json", "model.safetensors.index.json", "tokenizer.json", "tokenizer_config.json")
"""Small files in which folders of one model differ first; weights are told apart by their sizes."""


def load_share(folder: Path, group: RankGroup) -> LoadedWeights:
    """Read this rank's share, not computed yet.

    Raises:
        LoadError: The model's code cannot be shared out among so many ranks; what the libraries raise comes as it is.
    """
    model, config = load_model(folder, lazy=True, trust_remote_code=False)
    has_shard, has_pipeline = hasattr(model, "shard"), hasattr(getattr(model, "model", None), "pipeline")
    kind = str(config.get("model_type"))
    uneven = why_uneven(config, group.size)
    if has_shard and uneven is None:
        model.shard(group.mlx_group)
    elif has_pipeline:
        _check_layers(kind, len(model.model.layers), group.size)
        model.model.pipeline(group.mlx_group)
    elif uneven is not None and has_shard:
        raise LoadError(f"{kind}: {uneven}; give it a number of hosts that divides them")
    else:
        raise LoadError(
            f"{kind}: mlx-lm's code for models of this type can neither share its layers out (shard) nor split them "
            "(pipeline); take hosts away from the model"
        )
    wrapper = load_tokenizer(folder, TOKENIZER_CONFIG, eos_token_ids=config.get("eos_token_id"))
    return LoadedWeights(model, wrapper, config, group=group)


def why_uneven(config: dict[str, Any], num_ranks: int) -> str | None:
    """Return why a model's heads cannot be shared out evenly; None = they can, or nothing is said of them."""
    text_config = config.get("text_config")
    for source in (config, text_config if isinstance(text_config, dict) else {}):
        for key in _HEADS:
            num = source.get(key)
            if isinstance(num, int) and num % num_ranks:
                return f"its {num} {'attention' if key == _HEADS[0] else 'KV'} heads do not divide by {num_ranks} ranks"
    return None


def _check_layers(kind: str, num_layers: int, num_ranks: int) -> None:
    if num_layers < num_ranks:
        raise LoadError(f"{kind}: its {num_layers} layers are fewer than the {num_ranks} ranks")


def folder_digest(folder: Path) -> str:
    """Return what tells folders of different models apart without reading their weights; `mlxr hosts check` reads them.

    Raises:
        LoadError: There is no such folder, or it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        files = sorted(folder.glob("*.safetensors"))
        for file in files:
            digest.update(f"{file.name} {file.stat().st_size}\n".encode(errors="surrogateescape"))
        for name in _CONFIGS:
            if (folder / name).is_file():
                digest.update(name.encode() + b"\n" + (folder / name).read_bytes())
    except OSError as exc:
        raise LoadError(f"{folder} cannot be read: {exc}") from exc
    if not files:
        raise LoadError(f"{folder} has no *.safetensors, or is not there")
    return digest.hexdigest()


def check_room(folder: Path, num_ranks: int) -> None:
    """Refuse a share of weights that this machine's memory does not hold.

    Raises:
        LoadError: As said, with the numbers.
    """
    share_bytes = sum(file.stat().st_size for file in folder.glob("*.safetensors")) // num_ranks
    available_bytes = current_platform().memory().available_bytes
    if share_bytes > available_bytes:
        raise LoadError(
            f"there is no memory for its share: {share_bytes / 1e9:.2f} GB of weights, and "
            f"{available_bytes / 1e9:.2f} GB is available"
        )
