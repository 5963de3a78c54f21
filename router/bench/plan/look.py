"""What the scenario `look` asks: two questions on one picture, and who can be asked them. Pure.

The first question has the picture new. The second begins with the same words and the same picture, so that a server
that keeps either has them. All contestants get the same chats, because their answers are held against each other. Not
here: sending them.
"""

import base64
from collections.abc import Sequence
from typing import Any, Final

from router.bench.plan.contestants import Contestant
from router.bench.plan.pictures import picture_png
from router.bench.plan.texts import generator, label

LOOK: Final = "look"
WIDTH: Final = 448
HEIGHT: Final = 336
"""Of the pictures, in pixels; a server may show them smaller."""

WARM_UP_SHARE: Final = 4
"""The picture of a warm-up is so many times narrower and lower: its tower has to be there, not to have worked."""

_FIRST: Final = "What does this picture show? Answer in one sentence."
_SECOND: Final = "Which colours does this picture have, and which of them the most? Answer in one sentence."


def look_messages(*, seed: int, round_number: int) -> tuple[tuple[dict[str, Any], ...], ...]:
    """Return the chats of a round: the picture new, and the same picture again.

    Args:
        round_number: Decides the picture; below 0 it is a small one, to warm up with.
    """
    share = WARM_UP_SHARE if round_number < 0 else 1
    picture = picture_png(generator(seed, LOOK, round_number), WIDTH // share, HEIGHT // share)
    url = f"data:image/png;base64,{base64.b64encode(picture).decode()}"
    word = label(generator(seed, LOOK, "word", round_number)).capitalize()
    shown = ({"type": "text", "text": f"{word}: look at this."}, {"type": "image_url", "image_url": {"url": url}})
    return tuple(
        ({"role": "user", "content": [*shown, {"type": "text", "text": question}]},) for question in (_FIRST, _SECOND)
    )


def why_not_seen(contestants: Sequence[Contestant]) -> str | None:
    """Return why pictures cannot be shown to all contestants of ours; None = they can, as far as it is known here."""
    blind = [one for one in contestants if one.text_only_reason is not None]
    if not blind:
        return None
    if len(blind) == len(contestants):
        return f"the model cannot see: {'; '.join(dict.fromkeys(str(one.text_only_reason) for one in blind))}"
    return "; ".join(f"{one.label} cannot see: {one.text_only_reason}" for one in blind)


def why_foreign_not_seen(label: str, *, sees: bool | None, is_named: bool) -> str | None:
    """Return why pictures are not shown to a server by URL; None = they are.

    Args:
        label: Its name.
        sees: What it says of itself; None = nothing.
        is_named: Whether the user asked for this scenario by its name.
    """
    if sees is None:
        return None if is_named else f"{label} does not say whether it sees; --scenarios {LOOK} tries"
    return None if sees else f"{label} cannot see"
