"""What goes wrong with a text."""


class TextError(Exception):
    """A text cannot be read or changed; the words go on from the file's name: `it is not JSON (line 3: ...)`."""
