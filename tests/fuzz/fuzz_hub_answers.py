"""Fuzz target of what a hub answers: whatever it says, Structs with names that stay in their folder, or a PullError.

    pip install atheris && python tests/fuzz/fuzz_hub_answers.py [CORPUS_DIR] [-max_total_time=60]

Not run by CI: atheris needs clang's fuzzing runtime.
"""

import datetime as dt
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

try:
    import atheris
except ImportError:
    sys.exit("atheris is not installed: pip install atheris")

with atheris.instrument_imports():
    import msgspec

    from registry.errors import PullError
    from registry.facts import ArtifactFormat
    from registry.hub.addresses import origin_of
    from registry.hub.answers import RepoInfo, next_page_of, read_repo_info, read_search_page
    from registry.hub.references import HubReference, has_unprintable
    from registry.hub.web import retry_after_s
    from registry.pull.planning import has_gguf, has_mlx, plan_gguf, plan_mlx, siblings_of
    from registry.pull_record import PlannedPart, PullOptions

ENDPOINT = "https://hub.example"
FOLDER = "/models"
NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


NAMES = (
    "model.safetensors",
    "config.json",
    "tokenizer.json",
    "model.safetensors.index.json",
    "a-Q4_K_M.gguf",
    "mmproj",
)


def test_one_input(data: bytes) -> None:
    """Read the bytes as they are, and an answer of the right form that is made of them."""
    _read(data)
    _read(_answer(atheris.FuzzedDataProvider(data)))


def _answer(source: "atheris.FuzzedDataProvider") -> bytes:
    """Make an answer with hostile names and numbers where the bytes say so."""
    siblings = []
    for _ in range(source.ConsumeIntInRange(0, 6)):
        name = NAMES[source.ConsumeIntInRange(0, len(NAMES) - 1)]
        if source.ConsumeBool():
            name = source.ConsumeUnicodeNoSurrogates(24) + (name if source.ConsumeBool() else ".gguf")
        size = source.ConsumeIntInRange(-1, 1 << 47)
        lfs = {"sha256": "c" * 64, "size": size} if source.ConsumeBool() else None
        siblings.append({"rfilename": name, "size": size, "blobId": "b" * 40, "lfs": lfs})
    repo = "org/m" if source.ConsumeBool() else source.ConsumeUnicodeNoSurrogates(40)
    return msgspec.json.encode(
        {"id": repo, "sha": "a" * 40, "siblings": siblings, "tags": [source.ConsumeUnicodeNoSurrogates(8)]}
    )


def _read(data: bytes) -> None:
    """Read the bytes as each kind of answer, and plan with what comes out."""
    text = data.decode("utf-8", "replace")
    seconds = retry_after_s(text, NOW)
    if seconds is not None and not 0 <= seconds < float("inf"):
        raise AssertionError(seconds)
    page = next_page_of(text)
    if page is not None:
        origin_of(page)
    try:
        read_search_page(data)
    except PullError as exc:
        _check_message(exc)
    try:
        info = read_repo_info(data)
    except PullError as exc:
        _check_message(exc)
        return
    if msgspec.json.decode(msgspec.json.encode(info), type=RepoInfo) != info:
        raise AssertionError(info)
    _plan(info)


def _plan(info: "RepoInfo") -> None:
    reference = HubReference(repo=info.repo)
    siblings_of(info.repo, ArtifactFormat.MLX)
    try:
        if has_gguf(info):
            _check_places(plan_gguf(info, reference, PullOptions(), ENDPOINT))
            _check_places(plan_gguf(info, reference, PullOptions(vision=True), ENDPOINT))
    except PullError as exc:
        _check_message(exc)
    try:
        if has_mlx(info):
            _check_places(plan_mlx(info, ENDPOINT))
    except PullError as exc:
        _check_message(exc)


def _check_places(part: "PlannedPart") -> None:
    """No file leaves the models folder, none is asked of another host, no two are one."""
    places = [os.path.normpath(f"{FOLDER}/{part.folder}/{file.path}") for file in part.files]
    for place, file in zip(places, part.files, strict=True):
        if not place.startswith(f"{FOLDER}/{part.folder}/") or "\0" in place:
            raise AssertionError(place)
        origin = origin_of(file.url)
        if origin is None or origin.host != "hub.example" or file.size_bytes < 0:
            raise AssertionError(file)
    if len({place.casefold() for place in places}) < len(places):
        raise AssertionError(places)


def _check_message(error: "PullError") -> None:
    if has_unprintable(str(error)):
        raise AssertionError(str(error)) from error


if __name__ == "__main__":
    atheris.Setup(sys.argv, test_one_input)
    atheris.Fuzz()
