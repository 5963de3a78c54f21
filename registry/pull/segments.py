"""A file in pieces that are fetched side by side: what of each is there. Pure, and small enough to be kept as JSON."""

from collections.abc import Sequence

import msgspec


class Segment(msgspec.Struct, kw_only=True):
    """A piece of a file. Changed in place as bytes come.

    Attributes:
        start: Offset of its first byte.
        done: Offset behind the last byte that is there, counted from `start` without a gap.
    """

    start: int
    end: int
    done: int

    @property
    def is_complete(self) -> bool:
        """Whether all of it is there."""
        return self.done == self.end


def cut(size_bytes: int, segment_bytes: int) -> list[Segment]:
    """Cut a file into segments, in order, nothing done; one empty segment for an empty file."""
    starts = range(0, max(size_bytes, 1), segment_bytes)
    return [Segment(start=start, end=min(start + segment_bytes, size_bytes), done=start) for start in starts]


def is_sound(segments: Sequence[Segment], size_bytes: int) -> bool:
    """Tell whether segments that were stored cover a file once, in order, without a gap."""
    end = 0
    for segment in segments:
        if segment.start != end or not segment.start <= segment.done <= segment.end:
            return False
        end = segment.end
    return end == size_bytes and bool(segments)


def num_done(segments: Sequence[Segment]) -> int:
    """Count the bytes that are there."""
    return sum(segment.done - segment.start for segment in segments)


def prefix_end(segments: Sequence[Segment]) -> int:
    """Give the offset up to which nothing is missing, of a file's segments in order."""
    end = 0
    for segment in segments:
        end = segment.done
        if not segment.is_complete:
            break
    return end
