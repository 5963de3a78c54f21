"""What a hub has, with the size of each form and whether its weights fit here, for who asks."""

from collections.abc import Callable, Iterator
from typing import Final, Literal

import msgspec

from registry.engines import EngineKind
from registry.hub import HubClient, HubSettings, SearchHit, Web
from registry.pull.planning import has_mlx
from registry.pull.quants import gguf_sets
from router.placement.memory import MemoryBudget, weights_budget

MAX_LIMIT: Final = 100
Library = Literal["gguf", "mlx"]
"""As hubs tag repositories."""


class HubChoice(msgspec.Struct, frozen=True, kw_only=True):
    """One form of a model, as it could be pulled.

    Attributes:
        quantization: As GGUF files are named, or the file where its name has none; null = MLX weights.
        size_bytes: Of the weights.
        fits: Whether so much fits here, whatever is loaded now.
    """

    engine: EngineKind
    quantization: str | None
    size_bytes: int
    fits: bool


class HubModel(msgspec.Struct, frozen=True, kw_only=True):
    """A repository that was found.

    Attributes:
        name: What is pulled: `ORG/REPO`.
        is_gated: Whether its licence must be accepted first; null = it could not be looked into.
        fits: Whether any of its choices does; null = there are none.
    """

    name: str
    downloads: int | None
    is_gated: bool | None
    choices: tuple[HubChoice, ...]
    fits: bool | None


class HubSearch:
    """Searches for the clients of a server.

    Args:
        settings: How the hub is reached; raises ConfigError where it cannot be.
        read_budget: Reads what the machine has.
    """

    def __init__(self, settings: Callable[[], HubSettings], read_budget: Callable[[], MemoryBudget]) -> None:
        self._settings = settings
        self._read_budget = read_budget

    async def find(
        self, text: str, *, author: str | None, engine: EngineKind | None, limit: int
    ) -> tuple[tuple[HubModel, ...], int]:
        """Look for models; arguments and errors as of `search_hub`.

        Returns:
            What was found, and how large weights may be here, bytes.
        """
        budget_bytes = weights_budget(self._read_budget())
        found = await search_hub(
            self._settings(), text, author=author, engine=engine, limit=limit, budget_bytes=budget_bytes
        )
        return found, budget_bytes


def words_and_author(text: str, author: str | None = None) -> tuple[str, str | None]:
    """Return what names are to have in them, and whose they are to be, as people write both: `qwen3 @unsloth`.

    Args:
        author: If it is given apart, with or without `@`.
    """
    words = text.split()
    named = [word for word in words if word.startswith("@") and len(word) > 1]
    if author is None and named:
        words.remove(named[-1])
        author = named[-1]
    return " ".join(words), None if author is None else author.removeprefix("@") or None


async def search_hub(
    hub: HubSettings,
    text: str,
    *,
    author: str | None = None,
    engine: EngineKind | None = None,
    limit: int = 10,
    budget_bytes: int,
) -> tuple[HubModel, ...]:
    """Look for models, most downloads first.

    Args:
        text: What their names have in them.
        engine: Only for this one.
        limit: At most so many, 1 to `MAX_LIMIT`.
        budget_bytes: Weights that fit here.

    Raises:
        HubError: The hub cannot be asked.
    """
    library: Library | None = None
    if engine is not None:
        library = "mlx" if engine is EngineKind.MLX else "gguf"
    async with Web(hub) as web:
        hits = await HubClient(web).search(text, author=author, library=library, limit=limit)
    return tuple(_found(hit, budget_bytes) for hit in hits)


def _found(hit: SearchHit, budget_bytes: int) -> HubModel:
    choices = tuple(
        HubChoice(engine=engine, quantization=label, size_bytes=num_bytes, fits=num_bytes <= budget_bytes)
        for engine, label, num_bytes in _sizes(hit)
    )
    return HubModel(
        name=hit.repo,
        downloads=hit.num_downloads,
        is_gated=None if hit.info is None else hit.info.is_gated,
        choices=choices,
        fits=any(choice.fits for choice in choices) if choices else None,
    )


def _sizes(hit: SearchHit) -> Iterator[tuple[EngineKind, str | None, int]]:
    files = () if hit.info is None else hit.info.files
    for item in gguf_sets(files):
        if not item.num_missing:
            yield EngineKind.LLAMACPP, item.label or item.files[0].path, item.size_bytes
    if hit.info is not None and has_mlx(hit.info):
        weights = (file.size_bytes for file in files if file.path.endswith(".safetensors") and "/" not in file.path)
        yield EngineKind.MLX, None, sum(weights)
