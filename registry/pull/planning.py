"""Which files of a repository to pull. Pure: the hub's listing is an argument.

Not here: asking the hub, and what of it is on the disk already (`inventory.py`).
"""

import re
import unicodedata
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

from registry.errors import NothingToPullError
from registry.facts import ArtifactFormat
from registry.hub.answers import HubFile, RepoInfo
from registry.hub.references import HubReference
from registry.pull.quants import GGUFSet, choose_default, gguf_sets, projectors
from registry.pull_record import PlannedFile, PlannedPart, PullOptions

_MLX_SUFFIXES: Final = (".safetensors", ".json", ".jinja", ".txt", ".tiktoken")
_MLX_NAMES: Final = frozenset({"tokenizer.model", "spiece.model", "sentencepiece.bpe.model"})
"""Nothing that runs code: no .py, and no pickles (.bin, .pt, .pth, .pkl, .ckpt)."""

_PICKLES: Final = (".bin", ".pt", ".pth", ".pkl", ".ckpt")
_WEIGHT_SHARD: Final = re.compile(r"(?P<prefix>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.safetensors")
_GGUF_ENDING: Final = re.compile(r"[-_.](?:GGUF|i1-GGUF)\Z", re.IGNORECASE)
_MLX_ENDING: Final = re.compile(r"[-_.](?:mlx|[2-8]bit|bf16|fp16|\d+bit-(?:dwq|g\d+)|mxfp4)\Z", re.IGNORECASE)


def has_gguf(info: RepoInfo) -> bool:
    """Tell whether a repository has GGUF models."""
    return bool(gguf_sets(info.files))


def has_mlx(info: RepoInfo) -> bool:
    """Tell whether a repository is a model folder that MLX may load: a config and safetensors."""
    names = {file.path for file in info.files}
    return "config.json" in names and any(name.endswith(".safetensors") and "/" not in name for name in names)


def plan_gguf(info: RepoInfo, reference: HubReference, options: PullOptions, endpoint: str) -> PlannedPart:
    """Choose the files of one GGUF model.

    Args:
        reference: What was asked for: a quantization, a file, or neither.

    Raises:
        NothingToPullError: It is not there, is not complete, is not clear, or nothing fits.
    """
    sets = gguf_sets(info.files)
    chosen = _choose_set(info, sets, reference, options)
    if chosen.num_missing:
        raise NothingToPullError(
            f"{info.repo}: of the files of {chosen.files[0].path}, {chosen.num_missing} are missing in the repository; "
            "choose another quantization."
        )
    files = [_planned(info, file, file.path, endpoint) for file in chosen.files]
    projector = _projector(info, options)
    if projector is not None:
        # Beside the model, wherever the repository has it: that is where engines and scans look for it.
        folder = chosen.files[0].path.rpartition("/")[0]
        path = "/".join(part for part in (folder, projector.path.rpartition("/")[2]) if part)
        files.append(_planned(info, projector, path, endpoint))
    return PlannedPart(
        format=ArtifactFormat.GGUF,
        repo=info.repo,
        commit=info.commit,
        folder=info.repo,
        files=_distinct(info.repo, files),
        quant=chosen.label,
        has_projector=projector is not None,
    )


def _choose_set(info: RepoInfo, sets: Sequence[GGUFSet], reference: HubReference, options: PullOptions) -> GGUFSet:
    if reference.file is not None:
        found = [item for item in sets if any(file.path == reference.file for file in item.files)]
        if not found:
            raise NothingToPullError(f"{info.repo} has no GGUF model {reference.file!r}. It has {_offer(sets)}.")
        return found[0]
    if reference.quant is not None:
        wanted = reference.quant.upper()
        found = [item for item in sets if item.label == wanted]
        found = found or [item for item in sets if (item.label or "").removeprefix("UD-").removeprefix("I1-") == wanted]
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(item.files[0].path for item in found[:5])
            raise NothingToPullError(f"{info.repo} has several {wanted} models ({names}); name one: {info.repo}/FILE.")
        raise NothingToPullError(f"{info.repo} has nothing in {wanted}. It has {_offer(sets)}.")
    complete = [item for item in sets if not item.num_missing]
    chosen = choose_default(complete, options.budget_bytes)
    if chosen is None and complete:
        smallest = complete[0]
        raise NothingToPullError(
            f"Nothing of {info.repo} fits into {options.budget_bytes} bytes; the smallest is {_name(smallest)} with "
            f"{smallest.size_bytes}. {info.repo}:{smallest.label or 'QUANT'} takes it all the same."
        )
    return chosen or sets[0]


def _name(item: GGUFSet) -> str:
    return item.label or item.files[0].path


def _offer(sets: Sequence[GGUFSet]) -> str:
    names = [f"{_name(item)} ({item.size_bytes / 1e9:.2f} GB)" for item in sets[:20]]
    return ", ".join(names) + (", ..." if len(sets) > len(names) else "")


def _projector(info: RepoInfo, options: PullOptions) -> HubFile | None:
    if options.vision is False:
        return None
    found = projectors(info.files)
    if not found and options.vision:
        raise NothingToPullError(f"{info.repo} has no vision projector (mmproj); leave out --vision.")
    return found[0] if found else None


def plan_mlx(info: RepoInfo, endpoint: str) -> PlannedPart:
    """Choose the files of an MLX model folder: all that a load reads, and nothing that runs.

    Raises:
        NothingToPullError: It is no such folder, only has pickled weights, or misses a shard.
    """
    names = {file.path for file in info.files if "/" not in file.path}
    if not has_mlx(info):
        is_pickled = any(name.endswith(_PICKLES) for name in names)
        reason = (
            "its weights are pickles, which can run code" if is_pickled else "it has no config.json and safetensors"
        )
        raise NothingToPullError(f"{info.repo} cannot be pulled for MLX: {reason}. Look for its MLX form.")
    has_main_weights = any(name.startswith("model") and name.endswith(".safetensors") for name in names)
    kept = [file for file in info.files if is_mlx_file(file.path, has_main_weights=has_main_weights)]
    _check_shards(info.repo, [file.path for file in kept])
    return PlannedPart(
        format=ArtifactFormat.MLX,
        repo=info.repo,
        commit=info.commit,
        folder=f"{info.repo}-mlx" if has_gguf(info) else info.repo,
        files=_distinct(info.repo, [_planned(info, file, file.path, endpoint) for file in kept]),
    )


def is_mlx_file(path: str, *, has_main_weights: bool = False) -> bool:
    """Tell whether a file of a repository belongs to its MLX form.

    Args:
        has_main_weights: There is a `model*.safetensors`, so that a second copy of the weights is not needed.
    """
    if "/" in path or path.startswith("."):
        return False
    is_second_copy = path.startswith("consolidated") and path.endswith(".safetensors")
    return (path.endswith(_MLX_SUFFIXES) or path in _MLX_NAMES) and not (is_second_copy and has_main_weights)


def _check_shards(repo: str, names: Sequence[str]) -> None:
    for name in names:
        match = _WEIGHT_SHARD.fullmatch(name)
        if match is None or not 1 <= int(match["count"]) <= len(names) + 1:
            continue
        count = int(match["count"])
        for number in range(1, count + 1):
            other = f"{match['prefix']}-{number:05d}-of-{count:05d}.safetensors"
            if other not in names:
                raise NothingToPullError(f"{repo} is incomplete: it has {name} but not {other}. Take another revision.")


def siblings_of(repo: str, wanted: ArtifactFormat) -> tuple[str, ...]:
    """List repositories that may have the same model as `ORG/REPO` in the other format."""
    org, _, name = repo.partition("/")
    if wanted is ArtifactFormat.MLX:
        base = _GGUF_ENDING.sub("", name)
        names = (f"{base}-4bit", f"{base}-mlx-4bit", f"{base}-MLX-4bit")
        found = [f"mlx-community/{names[0]}", *(f"{org}/{item}" for item in names), f"{org}/{base}-mlx"]
        found += [f"{org}/{base}-MLX", f"lmstudio-community/{names[2]}"]
    else:
        base = name
        while (shorter := _MLX_ENDING.sub("", base)) != base:
            base = shorter
        owners = dict.fromkeys((org, "ggml-org", "lmstudio-community", "bartowski"))
        found = [f"{owner}/{base}-GGUF" for owner in owners if owner != "mlx-community"]
    return tuple(dict.fromkeys(item for item in found if item != repo))


def _planned(info: RepoInfo, file: HubFile, path: str, endpoint: str) -> PlannedFile:
    return PlannedFile(
        url=f"{endpoint}/{info.repo}/resolve/{info.commit}/{quote(file.path)}",
        path=path,
        size_bytes=file.size_bytes,
        sha256=file.sha256,
        git_sha1=file.git_sha1,
    )


def _distinct(repo: str, files: Sequence[PlannedFile]) -> tuple[PlannedFile, ...]:
    """Refuse names that some file systems take for the same: a later file would replace an earlier one."""
    folded = [unicodedata.normalize("NFC", file.path).casefold() for file in files]
    folders = {"/".join(path.split("/")[:depth]) for path in folded for depth in range(1, path.count("/") + 1)}
    if len(set(folded)) < len(folded) or folders & set(folded):
        raise NothingToPullError(f"{repo} has files whose names differ in case only; they cannot lie in one folder.")
    return tuple(files)
