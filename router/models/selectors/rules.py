"""Which model a selector means: rules over tags and facts. Pure.

Who may be chosen, for `auto:NAME`:
    1. it can serve the request: a usable artifact, of the engine that is named, and eyes where there is a picture;
    2. `small`: it is tagged so; where nobody is, it has at most SMALL_PARAMETERS; where nobody has, it is the smallest;
       `vision`: it can be shown pictures; where some of those are tagged so, only these;
       `code`: it is tagged so; where nobody is, its name says so; and of these, those whose template knows tools, if
       there are any;
       any other NAME: it is tagged so.

Who of them is: one that is loaded, so that nothing is swapped; then the fastest, as measured here (one that was never
measured comes after those that were); then the one used last; then the smallest; then the first by name.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from registry.engines import EngineKind

PREFIX: Final = "auto:"
SMALL: Final = "small"
VISION: Final = "vision"
CODE: Final = "code"
BUILT_IN: Final = (SMALL, VISION, CODE)
SMALL_PARAMETERS: Final = 4_500_000_000
"""What is called a 4B model, with its embeddings; two such models, quantized to 4 bit, fit into 8 GB."""
_CODE_NAMES: Final = re.compile(r"(?<!en)(?<!de)(?<!ni)code|devstral")
"""As in coder, codellama, codestral; no encoder, decoder or unicode."""


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one model.

    Attributes:
        engines: Those that could serve it.
        num_parameters: Of its smallest usable form; None = unknown.
        sees: Whether it can be shown pictures.
        has_tools: Whether its template knows tools.
        is_loaded: Now.
        decode_tokens_per_s: Of its fastest engine, as measured here; None = never.
        last_used_at: Seconds since 1970; None = never.
    """

    model: str
    tags: tuple[str, ...] = ()
    engines: frozenset[EngineKind] = frozenset()
    num_parameters: int | None = None
    sees: bool = False
    has_tools: bool = False
    is_loaded: bool = False
    decode_tokens_per_s: float | None = None
    last_used_at: float | None = None


class Wanted(msgspec.Struct, frozen=True):
    """What a selector is to choose for.

    Attributes:
        name: Behind `auto:`.
        engine: The one that is named; None = any.
        has_picture: Whether the request has one.
    """

    name: str
    engine: EngineKind | None = None
    has_picture: bool = False

    @property
    def selector(self) -> str:
        """As requests have it."""
        return PREFIX + self.name


class Judged(msgspec.Struct, frozen=True):
    """One model, and what speaks against it.

    Attributes:
        why_not: Null = nothing: it may be chosen.
    """

    candidate: Candidate
    why_not: str | None


class Selection(msgspec.Struct, frozen=True):
    """What a selector means now.

    Attributes:
        chosen: None = no model is meant.
        why: The rule by which, or why there is none.
        judged: All models, those that may be chosen first, in their order.
    """

    wanted: Wanted
    chosen: Candidate | None
    why: str
    judged: tuple[Judged, ...]


def wanted_by(reference: str) -> str | None:
    """Return what stands behind `auto:` in a model's name, without engine or adapter; None = it is no selector."""
    name = reference.strip().lower()
    return name[len(PREFIX) :].partition("@")[0].partition("+")[0] if name.startswith(PREFIX) else None


def select(candidates: Sequence[Candidate], wanted: Wanted) -> Selection:
    """Choose a model."""
    against = {each.model: _cannot_serve(each, wanted) for each in candidates}
    serving = [each for each in candidates if against[each.model] is None]
    meant, rule = _RULES.get(wanted.name, _tagged_only(wanted.name))(serving)
    names = {each.model for each in meant}
    against |= {each.model: rule for each in serving if each.model not in names}
    ordered = [*sorted(meant, key=_rank), *sorted((each for each in candidates if each.model not in names), key=_rank)]
    chosen = ordered[0] if meant else None
    why = f"{rule}: {_advantage(ordered, len(meant))}" if chosen is not None else _nobody(wanted, serving, rule)
    judged = tuple(
        Judged(each, None if against[each.model] is None else f"not {against[each.model]}") for each in ordered
    )
    return Selection(wanted, chosen, why, judged)


def _cannot_serve(candidate: Candidate, wanted: Wanted) -> str | None:
    """Return what a model would have to be to serve the request at all; None = it can."""
    if not candidate.engines:
        return "usable for text"
    if wanted.engine is not None and wanted.engine not in candidate.engines:
        return f"there for {wanted.engine}"
    if wanted.has_picture and not candidate.sees:
        return "able to see the request's picture"
    return None


_Meant = tuple[list[Candidate], str]
"""Those that a rule means, and what they are."""


def _small(candidates: Sequence[Candidate]) -> _Meant:
    if tagged := _with_tag(candidates, SMALL):
        return tagged, "tagged small"
    sized = [each for each in candidates if each.num_parameters is not None]
    small = [each for each in sized if (each.num_parameters or 0) <= SMALL_PARAMETERS]
    if small or not sized:
        return small, f"of at most {SMALL_PARAMETERS / 1e9:g} billion parameters"
    return [min(sized, key=lambda each: (each.num_parameters or 0, each.model))], "the smallest there is"


def _vision(candidates: Sequence[Candidate]) -> _Meant:
    seeing = [each for each in candidates if each.sees]
    tagged = _with_tag(seeing, VISION)
    return (tagged, "tagged vision") if tagged else (seeing, "able to see pictures")


def _code(candidates: Sequence[Candidate]) -> _Meant:
    tagged = _with_tag(candidates, CODE)
    meant = tagged or [each for each in candidates if _CODE_NAMES.search(each.model)]
    what = "tagged code" if tagged else "named for code"
    with_tools = [each for each in meant if each.has_tools]
    return (with_tools, f"{what}, with tools") if with_tools else (meant, what)


def _tagged_only(tag: str) -> Callable[[Sequence[Candidate]], _Meant]:
    return lambda candidates: (_with_tag(candidates, tag), f"tagged {tag}")


def _with_tag(candidates: Sequence[Candidate], tag: str) -> list[Candidate]:
    return [each for each in candidates if tag in each.tags]


_RULES: Final[dict[str, Callable[[Sequence[Candidate]], _Meant]]] = {SMALL: _small, VISION: _vision, CODE: _code}


def _rank(candidate: Candidate) -> tuple[bool, float, float, float, str]:
    """Return what those that are meant are sorted by, the best first."""
    return (
        not candidate.is_loaded,
        -(candidate.decode_tokens_per_s or 0.0),
        -(candidate.last_used_at or 0.0),
        float("inf") if candidate.num_parameters is None else candidate.num_parameters,
        candidate.model,
    )


_ADVANTAGES: Final = (
    "it is loaded",
    "it was measured to be the fastest here",
    "it was used last",
    "it is the smallest of them",
    "it is the first of them by its name",
)


def _advantage(ordered: Sequence[Candidate], num_meant: int) -> str:
    """Return what puts the first of those that are meant before the second."""
    if num_meant == 1:
        return "it is the only one"
    first, second = _rank(ordered[0]), _rank(ordered[1])
    return next(words for words, mine, other in zip(_ADVANTAGES, first, second, strict=True) if mine != other)


def _nobody(wanted: Wanted, serving: Sequence[Candidate], rule: str) -> str:
    if not serving:
        engine = "" if wanted.engine is None else f" on {wanted.engine}"
        return f"no model here can serve {'a picture' if wanted.has_picture else 'texts'}{engine}"
    return f"no model here is {rule}"
