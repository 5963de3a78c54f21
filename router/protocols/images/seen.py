"""What an answer tells of the pictures that its model was shown. Pure."""

from collections.abc import Iterable

from msgspec import UNSET, UnsetType

from backends.wire.messages import SequenceEnd
from router.protocols.answers import MlxrAnswer, SeenImage


def seen_images(ends: Iterable[SequenceEnd]) -> MlxrAnswer | UnsetType:
    """Return what was seen of pictures; UNSET where there were none.

    Args:
        ends: One for each prompt.
    """
    images = [
        SeenImage(
            original=image.original,
            seen=image.seen,
            tokens=image.num_tokens,
            cached=image.is_cached,
            encode_ms=round(image.encode_ms, 3),
        )
        for end in ends
        for image in end.images
    ]
    return MlxrAnswer(images=images) if images else UNSET
