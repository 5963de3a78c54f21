"""What a conversation holds that the model cannot see: said in words in its place, and told in the answer. Pure.

Only of what lies behind: what the question itself holds would change its answer, and is refused by its name.
"""

from typing import Final

from router.errors import UnsupportedFieldError
from router.http.ignored import leave_out

_NOUNS = {
    "image": "image",
    "image_url": "image",
    "input_image": "image",
    "input_audio": "audio",
    "audio": "audio",
    "video_url": "video",
    "file": "file",
    "input_file": "file",
    "document": "document",
}


TEXT_ONLY: Final = "this model reads text"


def in_words(kind: str, path: str, name: str | None = None, reason: str = TEXT_ONLY) -> str:
    """Return what stands for a part that is left out.

    Args:
        kind: Its `type`.
        path: Of the part in the body.
        name: Of its file, where one is known.
        reason: Why it is left out, a sentence without its end.

    Raises:
        UnsupportedFieldError: What has no effect is to be refused.
    """
    noun = _NOUNS.get(kind, kind.replace("_", " ")[:60])
    named = f"{noun} {name[:100]}" if name else noun
    leave_out(
        f"{path}.type={kind}",
        UnsupportedFieldError(f"{path}: {reason}; leave the part of type {kind:.60} out", path),
    )
    return f"[{named} left out: {reason}]"
