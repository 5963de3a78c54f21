"""What a conversation holds that the model cannot see: said in words in its place, and told in the answer. Pure.

Only of what lies behind: an image in the question itself would change its answer, and is refused by its name.
"""

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


def in_words(kind: str, path: str, name: str | None = None) -> str:
    """Return what stands for a part that is left out.

    Args:
        kind: Its `type`.
        path: Of the part in the body.
        name: Of its file, where one is known.

    Raises:
        UnsupportedFieldError: What has no effect is to be refused.
    """
    noun = _NOUNS.get(kind, kind.replace("_", " ")[:60])
    named = f"{noun} {name[:100]}" if name else noun
    leave_out(
        f"{path}.type={kind}",
        UnsupportedFieldError(f"{path}: this model reads text; leave the part of type {kind:.60} out", path),
    )
    return f"[{named} left out: this model reads text]"
