"""What scenarios need, and which of it is missing. Pure: facts about models in, a name or a sentence out.

Not here: asking the server for the facts (`server.py`), starting workers (`workers.py`).
"""

from collections.abc import Sequence
from typing import Final

import msgspec

BUNDLED_MODEL: Final = "smollm2-135m-instruct"
"""Comes with mlxr; who names no model means it, where it is here."""

ENGINES: Final = ("llamacpp", "mlx")


class MissingError(Exception):
    """What a scenario needs is not here; the text says what, and the way out."""


class Needs(msgspec.Struct, frozen=True, kw_only=True):
    """What must be there before a scenario begins.

    Attributes:
        num_workers: Processes with the model; None = it is loaded as it is set.
        sees: Whether the model must take pictures.
        both_engines: Whether the model must have a form for each engine.
        as_set: Whether the model must be loaded as it is set, because lines of a batch have no headers of their own.
    """

    num_workers: int | None = None
    sees: bool = False
    both_engines: bool = False
    as_set: bool = False

    @property
    def words(self) -> str:
        """What it is, for people; "" where it is nothing beside a model."""
        parts = [
            f"{self.num_workers} workers" if self.num_workers else "",
            "a model that sees" if self.sees else "",
            "a model with both engines" if self.both_engines else "",
        ]
        return ", ".join(part for part in parts if part)


NOTHING: Final = Needs()


class ModelFacts(msgspec.Struct, frozen=True):
    """What GET /v1/models says of a model that matters here."""

    id: str
    capabilities: tuple[str, ...] = ()
    engines: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()


def chosen_model(models: Sequence[ModelFacts], loaded: Sequence[str], named: str | None, needs: Needs) -> str:
    """Return the model to use, as it was named, or the bundled one, one that is loaded, or any that will do.

    Args:
        loaded: Names of those that are loaded.
        named: By the user, perhaps NAME@ENGINE; the server says what is wrong with a name that it does not know.

    Raises:
        MissingError: None will do.
    """
    if named is not None:
        known = _known(models, named)
        why = None if known is None else lacking(known, needs)
        if known is not None and why is not None:
            others = [each.id for each in models if lacking(each, needs) is None]
            way_out = f"; `--model {others[0]}` has it" if others else f"; {_way_out(needs, known.id)}"
            raise MissingError(f"{known.id} {why}{way_out}.")
        return named
    fitting = [each.id for each in models if lacking(each, needs) is None]
    for name in (BUNDLED_MODEL, *loaded, *fitting):
        if name in fitting:
            return name
    if not models:
        raise MissingError(
            "There is no model here; `mlxr models pull REFERENCE` gets one, `mlxr models scan` finds some."
        )
    raise MissingError(f"No model here will do: {_wanted(needs)} is needed; {_way_out(needs, models[0].id)}.")


def lacking(model: ModelFacts, needs: Needs) -> str | None:
    """Return what a model is not, behind its name; None = it will do."""
    if "completion" not in model.capabilities:
        return "generates no text"
    if needs.sees and "vision" not in model.capabilities:
        return "does not see pictures"
    if needs.both_engines:
        absent = [engine for engine in ENGINES if engine not in model.engines]
        if absent:
            return f"has no form for {' and '.join(absent)}"
    return None


def _known(models: Sequence[ModelFacts], named: str) -> ModelFacts | None:
    name = named.partition("@")[0]
    return next((each for each in models if name == each.id or name in each.aliases), None)


def _wanted(needs: Needs) -> str:
    if needs.sees:
        return "one that sees pictures"
    return "one with a form for each engine" if needs.both_engines else "one that generates text"


def _way_out(needs: Needs, name: str) -> str:
    if needs.both_engines:
        return f"`mlxr models convert {name}` makes the MLX form of a GGUF"
    what = "vision" if needs.sees else "instruct"
    return f"`mlxr models search {what}` finds some to pull, and `--model` names another one"
