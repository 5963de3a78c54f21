"""What a client would miss, and the command that mends it. Pure."""

from typing import Final, NamedTuple

from router.cli.launch.offer import Offer
from router.cli.launch.plan import Client


class Problem(NamedTuple):
    """Something that is missing.

    Attributes:
        is_fatal: Whether the client cannot work so at all.
    """

    text: str
    is_fatal: bool


_WORDLESS: Final = {
    "embedding": "makes vectors of texts and answers nothing",
    "rerank": "ranks documents and answers nothing",
}


def problems_of(client: Client, offer: Offer) -> list[Problem]:
    """Return what is missing, what is worst first."""
    found = [_generation(offer), _template(client, offer), _context(client, offer)]
    return sorted((problem for problem in found if problem is not None), key=lambda problem: not problem.is_fatal)


def _generation(offer: Offer) -> Problem | None:
    if "completion" in offer.capabilities:
        return None
    said = (_WORDLESS[name] for name in offer.capabilities if name in _WORDLESS)
    what = next(said, "has no usable files")
    return Problem(f"{offer.model} {what}; `mlxr models list` has the others.", is_fatal=True)


def _template(client: Client, offer: Offer) -> Problem | None:
    if "completion" not in offer.capabilities:
        return None
    if "tools" not in offer.capabilities:
        mend = f"`mlxr models set {offer.model} template=@FILE` gives it one"
        return Problem(f"{offer.model} has no chat template, so it cannot be talked to; {mend}.", is_fatal=True)
    if client.wants_tools and offer.explains_tools:
        text = (
            f"The chat template of {offer.model} has no place for tools: they are explained to it in words, which few "
            f"models follow well. `mlxr models list` has the others."
        )
        return Problem(text, is_fatal=False)
    return None


def _context(client: Client, offer: Offer) -> Problem | None:
    context, wanted = offer.context_length, client.wanted_context
    if context is None or wanted is None or context >= wanted:
        return None
    says_first = client.first_prompt is not None and context <= client.first_prompt
    why = (
        f"{client.title} begins with about {client.first_prompt:,} tokens of its own"
        if says_first
        else f"{client.title} works well from {wanted:,} on"
    )
    return Problem(
        f"The context of {offer.model} has {context:,} tokens, {why}: {_mended(offer, wanted)}.", is_fatal=says_first
    )


def _mended(offer: Offer, wanted: int) -> str:
    longest = offer.max_context_length
    name = offer.model.partition("@")[0].partition("+")[0]
    if longest is not None and longest <= (offer.context_length or 0):
        return "the model was made for no more, choose another one"
    longer = wanted if longest is None else min(wanted, longest)
    less = "" if longer == wanted else ", the most that it was made for"
    return (
        f"`mlxr models set {name} context_length={longer}` makes it longer{less}, where the memory is there "
        f"(`mlxr models fit {name} --ctx {longer}`)"
    )
