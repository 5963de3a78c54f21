"""What reading a document tells beside its text, and why one cannot be read."""

from typing import Final

from router.documents.messages import MAX_PICTURES, MAX_PICTURES_BYTES


class UnreadableError(Exception):
    """It cannot be read; the message follows its name in a sentence: "is encrypted"."""


ENCRYPTED: Final = "is encrypted with a password; save it without one and send that"
DAMAGED: Final = "is damaged or cut off"


class Report:
    """Grows while a document is read.

    Attributes:
        num_pages: Pages, slides or sheets; None = it has none.
        scanned: Numbers of pages that are pictures without text.
        pictures: Of the first of these pages.
        notes: For people, a sentence each.
    """

    def __init__(self) -> None:
        self.num_pages: int | None = None
        self.scanned: list[int] = []
        self.pictures: list[bytes] = []
        self.notes: list[str] = []
        self._num_picture_bytes = 0
        self._num_pictures = 0

    @property
    def has_room_for_pictures(self) -> bool:
        """Whether one more page may be drawn; the pages that have a picture are the first without text."""
        is_next = len(self.scanned) == len(self.pictures) + 1
        return is_next and len(self.pictures) < MAX_PICTURES and self._num_picture_bytes < MAX_PICTURES_BYTES

    def add_picture(self, picture: bytes) -> None:
        """Take the picture of the last page without text, if it is not too large."""
        if self._num_picture_bytes + len(picture) <= MAX_PICTURES_BYTES:
            self.pictures.append(picture)
            self._num_picture_bytes += len(picture)

    def note_picture(self) -> None:
        """Note that a picture is left out."""
        self._num_pictures += 1

    def close(self) -> None:
        """Say in words what was counted."""
        if self._num_pictures:
            self.notes.append(f"{counted(self._num_pictures, 'picture')} left out.")
        if self.scanned:
            shown = f"; models that see are shown {len(self.pictures)}" if self.pictures else ""
            self.notes.append(f"{_listed('Page', self.scanned)} without text: scanned, or a picture{shown}.")


def counted(number: int, noun: str) -> str:
    """Return a number of things in words, with the verb: `1 picture is`, `3 pictures are`."""
    return f"{number} {noun} is" if number == 1 else f"{number} {noun}s are"


def _listed(noun: str, numbers: list[int]) -> str:
    """Return numbers as ranges: `Pages 1-3 and 7 are`."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][-1] + 1:
            ranges[-1] = [ranges[-1][0], number]
        else:
            ranges.append([number])
    words = ["-".join(map(str, each)) for each in ranges]
    verb, plural = ("is", "") if len(numbers) == 1 else ("are", "s")
    listed = words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
    return f"{noun}{plural} {listed} {verb}"
