"""Pictures as clients send them, to a model that sees and to one that does not (peers' suites and reports)."""

import base64
import io
from typing import Any, Final

from PIL import Image

from tests.cases.case import CHAT, FAKE, MESSAGES, OLLAMA_CHAT, OLLAMA_GENERATE, REAL, RESPONSES, Body, Case, Reply, ask

COMPLETION: Final = "/completion"
_ALL: Final = (*FAKE, *REAL)
_SEEN: Final = "mlxr.images.0"


def _encoded(kind: str, width: int = 40, height: int = 30, **options: Any) -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(buffer, kind, **options)
    return base64.b64encode(buffer.getvalue()).decode()


_PNG: Final = _encoded("PNG")
_URI: Final = f"data:image/png;base64,{_PNG}"
_TURNED: Final = Image.Exif()
_TURNED[0x0112] = 6


def _chat(name: str, image: Any, *, row: str = "llama.cpp test_vision_api", **rest: Any) -> Case:
    parts = [{"type": "text", "text": "What is this:\n"}, {"type": "image_url", "image_url": image}]
    return _ask(row, name, CHAT, {"messages": [{"role": "user", "content": parts}]}, **rest)


def _ask(row: str, name: str, path: str, body: Body, **rest: Any) -> Case:
    return ask(row, name, path, body, **{"model": "seeing"} | rest)


def _raw(name: str, text: str, *data: str, **rest: Any) -> Case:
    prompt = {"prompt_string": text, "multimodal_data": list(data)}
    return _ask("llama.cpp test_vision_api", name, COMPLETION, {"prompt": prompt, "n_predict": 2}, **rest)


def _counts_rows(reply: Reply) -> None:
    rows = reply.at(f"{_SEEN}.tokens")
    assert reply.num_prompt_tokens > rows > 0


def _is_short(reply: Reply) -> None:
    assert reply.num_prompt_tokens < 300, "the words for a picture, and not its base64"


def _message(block: Body, **more: Any) -> Body:
    return {
        "messages": [{"role": "user", "content": [block, {"type": "text", "text": "What?"}]}],
        "max_tokens": 2,
    } | more


def _block(data: str, media_type: str = "image/png") -> Body:
    return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}


_SIZE: Final = {f"{_SEEN}.original": [40, 30]}

_LATER: Final = ({"role": "assistant", "content": "A red picture."}, {"role": "user", "content": "Say hi."})

CASES: Final[list[Case]] = [
    # tools/server/tests/unit/test_vision_api.py, `test_vision_chat_completion`
    _chat("a data: URI", {"url": _URI}, has=_SIZE, engines=_ALL),
    _chat("base64 without a prefix", {"url": _PNG}, has=_SIZE),
    _chat("a text in the place of the object", _URI, has=_SIZE),
    _chat("no image", {"url": "malformed"}, status=400, says=("messages[0].content[1].image_url",)),
    _chat("an empty text", {"url": ""}, status=400, says=("messages[0].content[1].image_url",)),
    _chat("no url", {}, status=400, says=("the image is missing",)),
    _chat("a file: address", {"url": "file:///etc/passwd"}, status=400, says=("not its data",)),
    _chat("text as an image", {"url": "data:image/png;base64,aGVsbG8gd29ybGQ="}, status=400, says=("image_url",)),
    _chat("a detail that nobody knows", {"url": _URI, "detail": "finest"}, status=400, says=("detail",)),
    # ollama/ollama#6753: refused, but nobody said why
    _chat("an address", {"url": "https://a.example/a.png"}, row="B6", status=400, says=("images.fetch", "data:image")),
    # abetlen/llama-cpp-python#1140
    _chat("WEBP", {"url": f"data:image/webp;base64,{_encoded('WEBP')}"}, row="B21", has=_SIZE),
    _chat("another type than it says", {"url": f"data:image/gif;base64,{_encoded('JPEG')}"}, row="held", has=_SIZE),
    _chat("TIFF", {"url": f"data:image/tiff;base64,{_encoded('TIFF')}"}, row="held", status=400, says=("TIFF",)),
    # ollama/ollama#18418: models saw rotated photos
    _chat(
        "a photo that lies on its side",
        {"url": f"data:image/jpeg;base64,{_encoded('JPEG', exif=_TURNED)}"},
        row="B1",
        has={f"{_SEEN}.original": [30, 40]},
    ),
    # lmstudio-ai/lmstudio-bug-tracker#2003, ggml-org/llama.cpp#13414: large pictures are shrunk, not refused
    _chat("35 megapixels", {"url": f"data:image/png;base64,{_encoded('PNG', 7000, 5000)}"}, row="B11"),
    # ollama/ollama#7592, #5728: usage without pictures
    _chat("tokens of pictures in the usage", {"url": _URI}, row="B8", check=_counts_rows),
    # `test_vision_completion`
    _raw("a marker and its image", "What is this: <__media__>\n", _PNG, has=_SIZE, engines=_ALL),
    _raw("a data: URI", "What is this: <__media__>\n", _URI, has=_SIZE),
    _raw("no image", "What is this: <__media__>\n", "malformed", status=400, says=("multimodal_data[0]",)),
    _raw("an image without a marker", "What is this:\n", _PNG, status=400, says=("<__media__>",)),
    _raw("a marker too many", "<__media__> or <__media__>?\n", _PNG, status=400, says=("2 times",)),
    _raw("a marker without images is text", "What is <__media__>?\n"),
    _ask(
        "llama.cpp test_vision_api",
        "texts and images among several prompts",
        COMPLETION,
        {
            "prompt": ["one", {"prompt_string": "<__media__> two", "multimodal_data": [_PNG]}],
            "n_predict": 2,
        },
        has={"1.mlxr.images.0.original": [40, 30]},
    ),
    # Ollama's suite of Anthropic's API ("vision"), anthropic-sdk-python's example of images
    _ask("Ollama test_compat_anthropic", "an image", MESSAGES, _message(_block(_PNG)), has=_SIZE),
    _ask("Ollama test_compat_anthropic", "another type", MESSAGES, _message(_block(_PNG, "image/webp")), has=_SIZE),
    _ask(
        "Ollama test_compat_anthropic",
        "a source that nobody knows",
        MESSAGES,
        _message({"type": "image", "source": {"type": "disk", "path": "/a.png"}}),
        status=400,
        says=("messages[0].content[0].source",),
    ),
    _ask(
        "held",
        "images before and behind text",
        OLLAMA_CHAT,
        {"messages": [{"role": "user", "content": "Compare.", "images": [_PNG, _URI]}]},
        has=_SIZE | {"mlxr.images.1.cached": True},
    ),
    _ask("held", "an image and no text", OLLAMA_GENERATE, {"prompt": "", "images": [_PNG]}, has=_SIZE),
    _ask("held", "images that are none", OLLAMA_GENERATE, {"images": [7]}, status=400, says=("images[0]",)),
    # Open Responses' compliance tests, "image-input"
    _ask(
        "Open Responses",
        "image-input",
        RESPONSES,
        {
            "input": [
                {
                    "type": "message",
                    "role": "user",
                    "content": [
                        {"type": "input_text", "text": "What do you see in this image? Answer in one sentence."},
                        {"type": "input_image", "image_url": _URI},
                    ],
                }
            ]
        },
        has=_SIZE | {"status": "incomplete"},
    ),
    # open-webui/open-webui#26725: base64 as the tokens of a text
    ask(
        "B20",
        "an earlier image to a model that cannot see",
        CHAT,
        {
            "messages": [
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": _URI}}]},
                *_LATER,
            ]
        },
        ignored=("messages[].content[].type=image_url",),
        check=_is_short,
    ),
    *(
        _ask(
            "held",
            "an earlier image of which nothing is left",
            path,
            {field: [{"role": "user", "content": [part]}, *_LATER]},
            ignored=(f"{field}[].content[].type={part['type']}",),
        )
        for path, field, part in (
            (CHAT, "messages", {"type": "image_url", "image_url": {"url": ""}}),
            (RESPONSES, "input", {"type": "input_image", "image_url": ""}),
        )
    ),
    ask(
        "held",
        "an image to a model that cannot see",
        CHAT,
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": _URI}}]}]},
        status=400,
        says=("messages[0].content[0].image_url", "model_cannot_see", "'seeing'"),
    ),
]
