"""A LoRA adapter in a folder of mlx-lm: its config and header in, AdapterFacts out, and whether it fits a base.

Not here: tensor data, and registering (`registration.py`).

Source: mlx-lm, tuner/utils.py, load_adapters and linear_to_lora_layers; tuner/lora.py for the shapes.
"""

import math
import re
from pathlib import Path
from typing import Any, Final

from registry.adapters.lora import Lora, Shape, as_text, bad_adapter, mismatch, paired, shape_mismatch, unsupported
from registry.errors import ArtifactError
from registry.facts import AdapterFacts, ArtifactFormat, clean_text
from registry.mlx.config import Config, read_object
from registry.mlx.folder import read_tensors
from registry.mlx.safetensors import TensorInfo, read_tensor_infos

CONFIG_NAME: Final = "adapter_config.json"
WEIGHTS_NAME: Final = "adapters.safetensors"

MAX_RANK: Final = 65_536

_MAGNITUDE: Final = "m"
_METHODS: Final = ("lora", "dora")
_LAYER: Final = re.compile(r"(?:\A|\.)(layers\.(\d+)\..*)")


def read_mlx_lora(folder: Path) -> Lora:
    """Read an adapter's adapter_config.json and the header of its weights.

    Raises:
        ArtifactError: not_an_adapter, unsupported_adapter or bad_adapter; or a file cannot be read.
    """
    config = read_object(folder, CONFIG_NAME)
    if config is None:
        raise ArtifactError("not_an_adapter", f"there is no {CONFIG_NAME} in this folder")
    _check_kind(config)
    rank, scale = _parameters(config)
    if not (folder / WEIGHTS_NAME).exists():
        raise bad_adapter(f"there is no {WEIGHTS_NAME} in this folder")
    tensors = read_tensor_infos(folder / WEIGHTS_NAME)
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    pairs = paired(shapes, lambda name: name.rpartition(".")[2] == _MAGNITUDE)
    for module, (a, b) in pairs.items():
        if not _is_pair(a, b, rank):
            raise bad_adapter(
                f"its tensors for {module[:80]!r} cannot be multiplied over the rank {rank}: "
                f"{as_text(a)} and {as_text(b)}"
            )
    return Lora(
        AdapterFacts(
            format=ArtifactFormat.MLX,
            method="dora" if config.get("fine_tune_type") == "dora" else "lora",
            architecture=None,
            rank=rank,
            scale=scale,
            num_tensors=len(tensors),
            num_weights=sum(tensor.num_elements for tensor in tensors.values()),
            weight_bytes=sum(tensor.size_bytes for tensor in tensors.values()),
            title=clean_text(config.get("model")),
        ),
        pairs,
    )


def check_mlx_base(lora: Lora, base_folder: Path, base_name: str) -> None:
    """Refuse an adapter that does not belong to a base, as far as headers tell.

    A base that was not written by mlx-lm may name its tensors otherwise than its module tree; what stands after
    `layers.` is then compared.

    Raises:
        ArtifactError: adapter_mismatch, with what does not fit; or the base's files cannot be read.
    """
    config = Config(read_object(base_folder, "config.json") or {})
    base = _Base(read_tensors(base_folder), config)
    total = config.integer("num_hidden_layers")
    for module, pair in lora.pairs.items():
        layer = _LAYER.search(module)
        number = None if layer is None else int(layer[2])
        if number is not None and total and number >= total:
            raise mismatch(f"it changes layer {number}; {base_name} has {total} layers")
        shape = base.shape_of(module)
        if shape is None:
            raise mismatch(f"it changes {module[:80]!r}, which {base_name} does not have")
        if shape and not _fits(*pair, shape):
            raise shape_mismatch(module, pair, shape, base_name)


class _Base:
    """Shapes of the base's weights, as they are when they are not packed."""

    def __init__(self, tensors: dict[str, TensorInfo], config: Config) -> None:
        self._tensors = tensors
        self._by_tail = {match[1]: name for name in tensors if (match := _LAYER.search(name)) is not None}
        section = config.section("quantization") or config.section("quantization_config") or {}
        self._quantization: dict[str, Any] = section

    def shape_of(self, module: str) -> Shape | None:
        """Give a module's shape, outputs first; () = it is there in another form, None = it is not there."""
        name = f"{module}.weight"
        if name not in self._tensors:
            match = _LAYER.search(name)
            found = self._by_tail.get(match[1]) if match is not None else None
            if found is None:
                # Experts that lie one by one in the file are stacked in the load.
                is_stacked = "switch_mlp" in module and any(".experts." in each for each in self._tensors)
                return () if is_stacked else None
            name = found
        weight = self._tensors[name]
        scales = self._tensors.get(name.removesuffix("weight") + "scales")
        if scales is None or weight.dtype != "U32":
            return weight.shape
        own = self._quantization.get(module)
        group_size = (own if isinstance(own, dict) else self._quantization).get("group_size")
        if not isinstance(group_size, int) or not scales.shape:
            return ()
        # Source: mlx.core.quantize: one scale for each group of a row.
        return (*weight.shape[:-1], scales.shape[-1] * group_size)


def _check_kind(config: dict[str, Any]) -> None:
    if "peft_type" in config or "base_model_name_or_path" in config:
        raise unsupported(
            "this is an adapter of the PEFT library, which no engine loads; llama.cpp's convert_lora_to_gguf.py makes "
            "a GGUF adapter of it"
        )
    method = config.get("fine_tune_type", "lora")
    if method not in _METHODS:
        raise unsupported(
            f"its fine_tune_type is {clean_text(method)!r}, not lora or dora; `mlx_lm.fuse` makes a model of it"
        )


def _parameters(config: dict[str, Any]) -> tuple[int, float]:
    """Give rank and scale, after a look at everything that mlx-lm reads from the config."""
    parameters, num_layers = config.get("lora_parameters"), config.get("num_layers")
    if not isinstance(parameters, dict):
        raise _bad_config("lora_parameters", "an object with rank, scale and dropout")
    if not isinstance(num_layers, int) or isinstance(num_layers, bool):
        raise _bad_config("num_layers", "a whole number")
    rank, scale, dropout = (parameters.get(key) for key in ("rank", "scale", "dropout"))
    if not isinstance(rank, int) or isinstance(rank, bool) or not 1 <= rank <= MAX_RANK:
        raise _bad_config("lora_parameters.rank", f"a whole number from 1 to {MAX_RANK}")
    if not _is_number(scale):
        raise _bad_config("lora_parameters.scale", "a number (alpha / rank, if your tool says alpha)")
    if not _is_number(dropout) or not 0 <= float(dropout or 0) < 1:
        raise _bad_config("lora_parameters.dropout", "a number from 0 to below 1")
    keys = parameters.get("keys")
    if keys is not None and not (isinstance(keys, list) and all(isinstance(key, str) for key in keys)):
        raise _bad_config("lora_parameters.keys", "a list of module names")
    return rank, float(scale or 0)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _bad_config(key: str, what: str) -> ArtifactError:
    return bad_adapter(f"{key} in {CONFIG_NAME} must be {what}")


def _is_pair(a: Shape, b: Shape, rank: int) -> bool:
    """Tell whether two shapes belong together: (in, rank) and (rank, out), or with experts before and turned round."""
    if len(a) == len(b) == 2:  # noqa: PLR2004 - matrices
        return a[1] == b[0] == rank
    return len(a) == len(b) == 3 and a[0] == b[0] and a[1] == b[2] == rank  # noqa: PLR2004 - experts, then matrices


def _fits(a: Shape, b: Shape, base: Shape) -> bool:
    if len(base) != len(a):
        return False
    if len(base) == 3:  # noqa: PLR2004 - experts, outputs, inputs
        return base == (a[0], b[1], a[2])
    # An embedding's rows are its inputs, a linear layer's its outputs.
    return base in {(b[1], a[0]), (a[0], b[1])}
