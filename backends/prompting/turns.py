"""Where a conversation can begin later than at its first message. Pure; not here: how many tokens it has (`intake`)."""

from typing import Any


def shorter_conversations(messages: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Return a conversation without its oldest turn, without its two oldest, and so on to its last turn.

    A turn begins with a message of the user; answers, calls and their results stay with it. System messages stay.

    Returns:
        The longest first; nothing where there is one turn only.
    """
    starts = [index for index, message in enumerate(messages) if message["role"] == "user"]
    return [
        [*(message for message in messages[:start] if message["role"] == "system"), *messages[start:]]
        for start in starts[1:]
    ]
