"""Which retired sequences are no longer needed because another one is as good a beginning for all that they serve."""

from collections.abc import Iterable

from backends.batch_limits import BatchLimits
from backends.batching.checkpoints.keeping import Checkpoints
from backends.batching.prefix_index import Match
from backends.batching.retired import RetiredCaches


def needless_ids(
    newest_id: int, matches: Iterable[Match], retired: RetiredCaches, limits: BatchLimits, checkpoints: Checkpoints
) -> list[int]:
    """Return those whose tokens are the beginning of another one's, now that one has retired; perhaps this one.

    Who stays is kept as long as they would have been. Who is shorter, but cannot be replaced, goes before all others.

    Args:
        matches: Sequences that begin like it, itself too.
    """
    newest = retired.get(newest_id)
    assert newest is not None, "just retired"
    needless: list[int] = []
    for match in matches:
        other = retired.get(match.sequence_id)
        if other is None or other is newest or match.num_tokens < min(newest.num_tokens, other.num_tokens):
            continue
        shorter, longer = (other, newest) if other.num_tokens <= newest.num_tokens else (newest, other)
        pins = [each.pinned_until for each in (shorter, longer) if each.pinned_until is not None]
        longer.pinned_until = max(pins, default=None)
        if not (limits.can_cut(longer.num_tokens) or checkpoints.covers(longer, shorter)):
            retired.supersede(shorter.sequence_id)
            continue
        needless.append(shorter.sequence_id)
        if shorter is newest:
            retired.touch(longer.sequence_id)
            break
    return needless
