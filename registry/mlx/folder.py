"""An MLX model folder: config.json and safetensors headers in, ModelFacts out.

Not here: running anything that the folder brings. Python code and pickles are reasons not to load it.

Source: mlx-lm, utils.py, load_model: reads `model*.safetensors` and config.json, finds the quantization under
`quantization`; mlx.nn.quantize: how packed weights, scales and biases are named.
"""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from registry.errors import MLXDirError
from registry.facts import (
    ArtifactFormat,
    ChatTemplateFacts,
    KVGeometry,
    ModelFacts,
    ModelKind,
    Provenance,
    Quantization,
    TokenizerFacts,
    clean_text,
)
from registry.files import about
from registry.mlx.config import MAX_INDEX_BYTES, Config, read_chat_template, read_object
from registry.mlx.memory import memory_facts
from registry.mlx.safetensors import MAX_TENSORS, TensorInfo, read_tensor_infos
from registry.mlx.tower import tower_facts
from registry.sampling import GENERATION_CONFIG_NAME, RecommendedSampling

CONFIG_NAME: Final = "config.json"
INDEX_NAME: Final = "model.safetensors.index.json"

MAX_FOLDER_ENTRIES: Final = 10_000
"""A model folder has some hundred files at most; this bounds a listing of something else."""

MAX_LAYERS: Final = 4_096

_TOKENIZER_FILES: Final = ("tokenizer.json", "tokenizer.model", "vocab.json", "tekken.json", "vocab.txt")
_PICKLE_SUFFIXES: Final = (".bin", ".pt", ".pth", ".pkl")
_NPZ_SUFFIX: Final = ".npz"
_NPZ_REASON: Final = (
    "its weights are NumPy's (.npz), as MLX had them before safetensors, which no present mlx-lm reads; "
    "get the model as safetensors: `mlxr models search NAME`"
)
_EMBEDDING_TYPES: Final = frozenset({"bert", "xlm-roberta", "roberta", "modernbert", "nomic_bert", "distilbert"})
_DTYPE_LABELS: Final = {"F8_E4M3": "F8", "F8_E5M2": "F8"}
_MAIN_LABELS: Final = frozenset({"F32", "F16", "BF16", "F8"})


class _Weights(NamedTuple):
    """Totals over all tensors of the folder."""

    num_tensors: int
    parameter_count: int
    size_bytes: int
    label: str


def _file_names(folder: Path) -> set[str]:
    """Name the files of an MLX folder that may belong to the model, hidden ones left out; sub-folders are not entered.

    Raises:
        ArtifactError: The folder cannot be listed, or is too full to be a model.
    """
    names = set()
    with about(folder), os.scandir(folder) as entries:
        for number, entry in enumerate(entries):
            if number >= MAX_FOLDER_ENTRIES:
                raise MLXDirError("too_many_files", "the folder has too many files to be a model")
            if not entry.name.startswith(".") and entry.is_file():
                names.add(entry.name)
    return names


def read_mlx_dir(folder: Path | str) -> ModelFacts:
    """Read the facts of an MLX model folder.

    Raises:
        MLXDirError: no_config, bad_json, no_weights, pickle_weights, npz_weights, incomplete, index_escapes,
            bad_safetensors or lfs_pointer.
        ArtifactError: A file cannot be read.
    """
    folder = Path(folder)
    with about(folder):
        names = _file_names(folder)
        values = read_object(folder, CONFIG_NAME)
        if values is None:
            raise MLXDirError("no_config", "there is no config.json; this is no MLX model folder")
        config = Config(values)
        tensors = _read_tensors(folder, names)
    weights = _weights(tensors, config)
    tokenizer_config = Config(read_object(folder, "tokenizer_config.json") or {})
    generation_config = read_object(folder, GENERATION_CONFIG_NAME) or {}
    reasons = tuple(_reasons(config, tokenizer_config, names))
    template = read_chat_template(folder)
    model_type = clean_text(config.text("model_type"))
    return ModelFacts(
        format=ArtifactFormat.MLX,
        architecture=model_type,
        kind=ModelKind.EMBEDDING if model_type in _EMBEDDING_TYPES else ModelKind.MODEL,
        parameter_count=weights.parameter_count,
        weight_bytes=weights.size_bytes,
        num_tensors=weights.num_tensors,
        quantization=_quantization(config, weights),
        context_length=config.integer("max_position_embeddings"),
        embedding_length=config.integer("hidden_size"),
        vocabulary_size=config.integer("vocab_size"),
        num_experts=config.integer("num_local_experts") or None,
        num_experts_used=config.integer("num_experts_per_tok") or None,
        kv=_kv_geometry(config),
        memory=memory_facts(config, tensors),
        chat_template=None if template is None else ChatTemplateFacts.from_text(template),
        sampling=RecommendedSampling.of_generation_config(generation_config),
        tokenizer=_tokenizer(config, tokenizer_config, Config(generation_config)),
        rope_scaling_type=_rope_scaling_type(config),
        vision=tower_facts(config, tensors, names),
        provenance=Provenance(name=clean_text(config.text("_name_or_path"))),
        loadable=not reasons,
        reasons=reasons,
    )


def read_tensors(folder: Path) -> dict[str, TensorInfo]:
    """Read the header of every weight file of a folder: tensor name -> what it is; errors as of `read_mlx_dir`."""
    with about(folder):
        return _read_tensors(folder, _file_names(folder))


def _read_tensors(folder: Path, names: set[str]) -> dict[str, TensorInfo]:
    """Read every weight file's header; check the index first."""
    shards = sorted(name for name in names if name.startswith("model") and name.endswith(".safetensors"))
    _check_index(folder, names)
    if not shards:
        if any(name.endswith(_PICKLE_SUFFIXES) for name in names):
            raise MLXDirError("pickle_weights", "its weights are pickles, which can run code; get the safetensors")
        if any(name.endswith(_NPZ_SUFFIX) for name in names):
            raise MLXDirError("npz_weights", _NPZ_REASON)
        raise MLXDirError("no_weights", "there are no weights (model*.safetensors) in the folder")
    tensors: dict[str, TensorInfo] = {}
    for shard in shards:
        tensors |= read_tensor_infos(folder / shard)
        if len(tensors) > MAX_TENSORS:
            raise MLXDirError("too_many_tensors", f"it has more than {MAX_TENSORS} tensors")
    return tensors


def _check_index(folder: Path, names: set[str]) -> None:
    index = read_object(folder, INDEX_NAME, MAX_INDEX_BYTES)
    weight_map = (index or {}).get("weight_map")
    if not isinstance(weight_map, dict):
        return
    for name in {str(value) for value in weight_map.values()}:
        if name != Path(name).name or "\\" in name or name in {"", ".", ".."} or "\0" in name:
            reason = f"it names {name[:80]!r}, which is not a file of this folder"
            raise MLXDirError("index_escapes", reason, file=INDEX_NAME)
        if name not in names:
            raise MLXDirError("incomplete", f"{name[:80]} is missing; get the rest of the model", file=INDEX_NAME)


def _weights(tensors: dict[str, TensorInfo], config: Config) -> _Weights:
    """Add up the tensors; a packed quantized weight counts as the weights that it unpacks to."""
    parameter_count = 0
    by_type: Counter[str] = Counter()
    for name, tensor in tensors.items():
        module, _, leaf = name.rpartition(".")
        packed = tensors.get(f"{module}.weight")
        if leaf in {"scales", "biases"} and packed is not None and packed.dtype == "U32":
            continue
        count = tensor.num_elements
        if leaf == "weight" and tensor.dtype == "U32" and f"{module}.scales" in tensors:
            # Source: mlx.core.quantize: weights are packed into uint32 without gaps, 32 / bits to a word.
            count = count * 32 // _module_bits(config, module)
        parameter_count += count
        by_type[_DTYPE_LABELS.get(tensor.dtype, tensor.dtype)] += count
    label = by_type.most_common(1)[0][0] if by_type else "F32"
    return _Weights(len(tensors), parameter_count, sum(tensor.size_bytes for tensor in tensors.values()), label)


def _quantization_section(config: Config) -> dict[str, Any]:
    return config.section("quantization") or config.section("quantization_config") or {}


def _module_bits(config: Config, module: str) -> int:
    section = _quantization_section(config)
    own = section.get(module)
    for source in (own if isinstance(own, dict) else {}, section):
        bits = source.get("bits")
        if isinstance(bits, int) and 1 <= bits <= 32:  # noqa: PLR2004 - a word has 32 bits
            return bits
    return 4


def _quantization(config: Config, weights: _Weights) -> Quantization:
    section = _quantization_section(config)
    bits, group_size, mode = section.get("bits"), section.get("group_size"), clean_text(section.get("mode"))
    said = None
    if mode is not None and mode != "affine":
        said = mode
    elif isinstance(bits, int) and isinstance(group_size, int):
        said = f"{bits}bit-g{group_size}"
    elif section:
        said = clean_text(section.get("quant_method"))
    is_packed = weights.label not in _MAIN_LABELS
    return Quantization(
        label=said or weights.label,
        from_file_type=said,
        from_tensors=weights.label,
        has_disagreement=(said is None) == is_packed and (said is None or "bits" in section),
        bits_per_weight=round(weights.size_bytes * 8 / weights.parameter_count, 3) if weights.parameter_count else None,
    )


def _kv_geometry(config: Config) -> KVGeometry | None:
    num_layers, num_heads = config.integer("num_hidden_layers"), config.integer("num_attention_heads")
    hidden_size = config.integer("hidden_size")
    if not num_layers or not num_heads or not hidden_size or num_layers > MAX_LAYERS:
        return None
    key_length = config.integer("head_dim") or hidden_size // num_heads
    layer_types = config.get("layer_types")
    num_windowed = layer_types.count("sliding_attention") if isinstance(layer_types, list) else None
    has_window = config.get("use_sliding_window") is not False
    return KVGeometry(
        num_layers=num_layers,
        num_kv_heads=(config.integer("num_key_value_heads") or num_heads,) * num_layers,
        key_length=key_length,
        value_length=config.integer("v_head_dim") or key_length,
        sliding_window=(config.integer("sliding_window") or None) if has_window else None,
        num_windowed_layers=num_windowed if has_window else None,
    )


def _tokenizer(config: Config, tokenizer_config: Config, generation: Config) -> TokenizerFacts:
    ends = (*generation.integers("eos_token_id"), *config.integers("eos_token_id"))
    prefix = tokenizer_config.get("add_bos_token")
    return TokenizerFacts(
        model=clean_text(tokenizer_config.text("tokenizer_class")),
        num_tokens=config.integer("vocab_size"),
        bos_token_id=next(iter(config.integers("bos_token_id")), None),
        eos_token_ids=tuple(dict.fromkeys(ends)),
        padding_token_id=config.integer("pad_token_id"),
        has_bos_prefix=prefix if isinstance(prefix, bool) else None,
    )


def _rope_scaling_type(config: Config) -> str | None:
    scaling = config.section("rope_scaling") or {}
    return clean_text(scaling.get("rope_type") or scaling.get("type"))


def _reasons(config: Config, tokenizer_config: Config, names: set[str]) -> Iterator[str]:
    if config.get("model_file") is not None:
        yield "config.json names Python code to run (model_file), which mlxr never does"
    for label, source in (("config.json", config), ("tokenizer_config.json", tokenizer_config)):
        for module in sorted(_code_modules(source.get("auto_map"))):
            if f"{module}.py" in names:
                yield f"{label} names Python code of the folder ({module}.py), which mlxr never runs"
    if config.text("model_type") is None:
        yield "config.json has no model_type"
    if not any(name in names for name in _TOKENIZER_FILES):
        yield f"there is no tokenizer ({', '.join(_TOKENIZER_FILES[:2])})"
    for key in ("num_hidden_layers", "hidden_size"):
        if config.get(key) is not None and not config.integer(key):
            yield f"{key} in config.json is not a positive number"


def _code_modules(auto_map: object) -> set[str]:
    """Give the modules that `auto_map` takes classes from: `{"AutoModel": "modeling_x.XModel"}`, or lists of those."""
    if not isinstance(auto_map, dict):
        return set()
    targets: list[object] = []
    for value in auto_map.values():
        targets.extend(value if isinstance(value, list) else [value])
    return {target.rsplit(".", 1)[0].rpartition("--")[2] for target in targets if isinstance(target, str)}


def is_mlx_dir(names: set[str]) -> bool:
    """Tell whether a folder with these file names could be an MLX model.

    Returns:
        True for config.json beside safetensors, pickles or NumPy's files; the latter two are refused later, with their
        reason.
    """
    return CONFIG_NAME in names and any(
        name.endswith((".safetensors", _NPZ_SUFFIX)) or name in {INDEX_NAME, "pytorch_model.bin"} for name in names
    )
