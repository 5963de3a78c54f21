import base64
from urllib.parse import quote

import pytest

from backends.errors import ImageError
from router.protocols.images import source
from router.protocols.images.source import image_bytes

DATA = bytes(range(256)) * 3 + b"\xfb\xff\xfe"
ENCODED = base64.b64encode(DATA).decode()
URL_SAFE = base64.urlsafe_b64encode(DATA).decode()


@pytest.mark.parametrize(
    "text",
    [
        ENCODED,
        URL_SAFE,
        ENCODED.rstrip("="),
        "\n".join(ENCODED[at : at + 76] for at in range(0, len(ENCODED), 76)) + "\r\n",
        f"data:image/png;base64,{ENCODED}",
        f"DATA:IMAGE/PNG;BASE64,{ENCODED}",
        f" data:;base64,{ENCODED}",
        f"data:image/svg+xml;charset=utf-8;base64,{ENCODED}",
        f"data:image/png;name=a b.png;base64,{ENCODED}",
        f"data:image/png;base64,{quote(ENCODED, safe='')}",
    ],
)
def test_base64_is_decoded_however_it_is_written(text: str) -> None:
    assert image_bytes(text) == DATA


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("https://example.org/a.png", "is an address ('https://example.org/a.png')"),
        ("file:///etc/passwd", "is an address"),
        ("data:image/png;base64", "has no comma before its data"),
        ("data:image/svg+xml,%3Csvg/%3E", "is not base64"),
        ("data:image/png;base64,@@@@", "is not base64"),
        ("data:image/png;base64,YQ=YQ", "is not base64"),
        ("a", "is not base64"),
        ("пик", "is not base64"),
        ("/home/me/photo.jpg?", "is not base64"),
    ],
)
def test_what_is_no_base64_is_refused_with_what_to_send(text: str, words: str) -> None:
    with pytest.raises(ImageError) as caught:
        image_bytes(text)
    assert words in str(caught.value)
    assert "; send " in str(caught.value)


def test_an_empty_text_is_an_empty_image() -> None:
    """Decoding refuses it, as it does an empty file."""
    assert image_bytes("") == image_bytes("data:image/png;base64,") == b""


def test_what_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "MAX_IMAGE_BYTES", 600)
    for text in (ENCODED, "A" * 10_000):
        with pytest.raises(ImageError, match="shrink it or save it as JPEG"):
            image_bytes(text)
    assert len(image_bytes("QUFB" * 200)) == 600
