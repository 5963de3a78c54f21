"""Model names: their grammar, references as requests write them, and names derived from files.

Not here: whether a name is taken (`registry.store`).

    name       = [org "/"] segment [":" tag]    at most 128 characters in all
    segment    = [a-z0-9] or [a-z0-9] [a-z0-9._-]* [a-z0-9], without ".."
    tag        = [a-z0-9._-]+, without ".."     as Ollama has it; names derived from files have none
    reference  = name ["+" adapter] ["@" engine]    engine: mlx, llamacpp, upstream:NAME or auto
    adapter    = segment                        at most 64 characters

The character `+` is in no name.
"""

import re
from typing import Final, NamedTuple

from registry.engines import ENGINE_SETTINGS, EngineSetting
from registry.errors import InvalidModelNameError

MAX_NAME_CHARS: Final = 128
MAX_ADAPTER_CHARS: Final = 64
RESERVED_NAME: Final = "auto"
"""Of no model that is made: `auto:TAG` chooses one."""

_SEGMENT: Final = r"[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?"
_NAME_PATTERN: Final = re.compile(rf"(?:{_SEGMENT}/)?{_SEGMENT}(?::[a-z0-9._-]+)?", re.ASCII)

_ADAPTER_PATTERN: Final = re.compile(_SEGMENT, re.ASCII)

_SHARD_PATTERN: Final = re.compile(r"(?P<prefix>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.IGNORECASE)
"""Source: llama.cpp, llama_split_path: "%s-%05d-of-%05d.gguf", counted from 1."""

_QUANTIZATION: Final = (
    r"(?:ud[-_])?(?:i1[-_])?i?q[1-8](?:_[0-9kxsmlv]{1,3}){0,3}|tq[12]_0|q8_k|bf16|fp?16|fp?32|fp?8|"
    r"mxfp[48](?:[-_]moe)?|nvfp4|int[248]|[2-8][-_]?bits?|w[48]a(?:8|16)|(?:gs?|group[-_]?size[-_]?)(?:16|32|64|128)|"
    r"dwq(?:[-_]?v\d)?|awq|gptq|qat|affine|imat(?:rix)?"
)
_FORMAT: Final = r"gguf|ggml|mlx|safetensors|hf|quantized|quants?"
_SUFFIX_PATTERN: Final = re.compile(rf"(?:\A|[-._ ])(?:{_QUANTIZATION}|{_FORMAT})\Z", re.IGNORECASE)

_GENERIC_NAMES: Final = frozenset(
    {
        "",
        RESERVED_NAME,
        "artifacts",
        "blobs",
        "checkpoint",
        "consolidated",
        "converted",
        "data",
        "downloads",
        "ggml-model",
        "gguf",
    }
    | {"files", "main", "mlx", "mlx-model", "mlx_model", "model", "models", "output", "pytorch_model", "snapshot"}
    | {"snapshots", "tmp", "unnamed", "weights"}
)
"""Names that tools give to files and folders; they say nothing about the model."""

_HEX_NAME: Final = re.compile(r"[0-9a-f]{12,}")


class ModelReference(NamedTuple):
    """What a request calls a model by.

    Attributes:
        engine: None when the reference leaves it open.
        adapter: A valid adapter name; None = the base alone.
    """

    name: str
    engine: EngineSetting | None
    adapter: str | None = None


class ShardName(NamedTuple):
    """The file name of one file of a split set.

    Attributes:
        prefix: What the names of the set share.
        number: From 1.
    """

    prefix: str
    number: int
    num_files: int


def check_model_name(name: str) -> str:
    """Check a name against the grammar; one that breaks it is an InvalidModelNameError."""
    if len(name) > MAX_NAME_CHARS:
        raise InvalidModelNameError(f"A model name has at most {MAX_NAME_CHARS} characters; this one has {len(name)}.")
    if _NAME_PATTERN.fullmatch(name) is None or ".." in name:
        raise InvalidModelNameError(
            f"{name!r} is no model name. Names are NAME or ORG/NAME of a-z, 0-9, '.', '_' and '-', "
            "starting and ending with a letter or digit; ':TAG' may follow."
        )
    return name


def check_new_name(name: str) -> str:
    """Check a name that is given now: like `check_model_name`, and it is not reserved."""
    check_model_name(name)
    if name == RESERVED_NAME or name.startswith(f"{RESERVED_NAME}:"):
        raise InvalidModelNameError(
            f"{name!r} cannot be given to a model: {RESERVED_NAME}:small, {RESERVED_NAME}:TAG and the like choose one."
        )
    return name


def check_adapter_name(name: str) -> str:
    """Check an adapter's name against the grammar; one that breaks it is an InvalidModelNameError."""
    if "+" in name:
        raise InvalidModelNameError(f"{name[:80]!r}: a model takes one adapter at a time; write NAME+ADAPTER.")
    if len(name) > MAX_ADAPTER_CHARS or _ADAPTER_PATTERN.fullmatch(name) is None or ".." in name:
        raise InvalidModelNameError(
            f"{name[:80]!r} is no adapter name. Adapter names are at most {MAX_ADAPTER_CHARS} of a-z, 0-9, '.', '_' "
            "and '-', starting and ending with a letter or digit."
        )
    return name


def parse_model_reference(text: str) -> ModelReference:
    """Take a reference apart: `name`, `name+adapter`, `name@engine` or `name+adapter@engine`, in lower or upper case.

    Raises:
        InvalidModelNameError: A name breaks the grammar, there are several adapters, or the engine is unknown.
    """
    if len(text) > 2 * MAX_NAME_CHARS:
        raise InvalidModelNameError(f"A model name has at most {MAX_NAME_CHARS} characters; this has {len(text)}.")
    model, at, engine = text.lower().partition("@")
    name, plus, adapter_name = model.partition("+")
    check_model_name(name)
    adapter = check_adapter_name(adapter_name) if plus else None
    if not at:
        return ModelReference(name, None, adapter)
    try:
        return ModelReference(name, EngineSetting(engine), adapter)
    except ValueError:
        raise InvalidModelNameError(f"{engine!r} is no engine. After '@' stands one of {ENGINE_SETTINGS}.") from None


def parse_shard_name(file_name: str) -> ShardName | None:
    """Recognise a file of a split GGUF set by its name; None when it is not of that form or counts wrongly."""
    match = _SHARD_PATTERN.fullmatch(file_name)
    if match is None:
        return None
    number, count = int(match["number"]), int(match["count"])
    return ShardName(match["prefix"], number, count) if 1 <= number <= count else None


def derive_name(*hints: str | None) -> str:
    """Derive a model name from the first hint that says something.

    Quantization, format and shard suffixes are taken off, so that all forms of one model get one name.

    Args:
        hints: File name, folder name, repository name, name from the metadata; best first. None is skipped.

    Returns:
        A valid name without an organization; `model` when no hint is of use.
    """
    for hint in hints:
        name = strip_suffixes(hint or "")
        if name not in _GENERIC_NAMES and _HEX_NAME.fullmatch(name) is None:
            return name
    return "model"


def strip_suffixes(text: str) -> str:
    """Reduce a file or folder name to the name of the model in it; empty when nothing is left.

    `SmolLM2-135M-Instruct.Q4_1.gguf` becomes `smollm2-135m-instruct`.
    """
    shard = parse_shard_name(text)
    stem = shard.prefix if shard is not None else re.sub(r"\.gguf\Z", "", text, flags=re.IGNORECASE)
    stem = stem.replace("\\", "/").rpartition("/")[2][: 4 * MAX_NAME_CHARS]
    while (match := _SUFFIX_PATTERN.search(stem)) is not None:
        stem = stem[: match.start()]
    return _sanitise(stem)


def sanitise_org(text: str | None) -> str | None:
    """Make an organization's name a valid segment before the slash; None when nothing is left."""
    return _sanitise(text or "")[:40].rstrip("._-") or None


def with_suffix(name: str, suffix: str) -> str:
    """Append e.g. a quantization to a name, shortening the name when both are too long together."""
    tail = _sanitise(suffix)
    if not tail:
        return name
    return f"{name[: MAX_NAME_CHARS - len(tail) - 1].rstrip('._-/:')}-{tail}"


def _sanitise(text: str) -> str:
    text = re.sub(r"[^a-z0-9._-]+", "-", text.lower())
    text = re.sub(r"\.{2,}", ".", re.sub(r"-{2,}", "-", text))
    # 80 leaves room for an organization and for what makes a name unique.
    return text.strip("._-")[:80].rstrip("._-")
