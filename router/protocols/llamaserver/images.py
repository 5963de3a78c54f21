"""The pictures in llama-server's prompts. Pure.

Source: llama.cpp, tools/server/README.md, "POST /completion": `multimodal_data` has one for each marker in
`prompt_string`; GET /props tells the marker.
"""

from typing import Any, Final

from backends.wire.prompts import ImagePart, Prompt, TextPrompt
from router.errors import InvalidRequestError
from router.protocols.images.read import ReadImages
from router.protocols.images.sent import SentImage
from router.protocols.llamaserver.schemas import CompletionFields, NativeCompletionRequest, PromptString

MEDIA_MARKER: Final = "<__media__>"
"""Stands in a prompt where a picture is to be; text like any other in prompts without pictures."""


def sent_images(body: CompletionFields) -> list[SentImage]:
    """Return all pictures of a request, in order."""
    if not isinstance(body, NativeCompletionRequest):
        return []
    if isinstance(body.prompt, PromptString):
        return _sent(body.prompt, "prompt")
    prompts = body.prompt if isinstance(body.prompt, list) else []
    return [
        image
        for index, prompt in enumerate(prompts)
        if isinstance(prompt, PromptString)
        for image in _sent(prompt, f"prompt[{index}]")
    ]


def prompt_with_images(prompt: PromptString, param: str, images: ReadImages) -> Prompt:
    """Return a prompt that may have pictures."""
    sent = prompt.multimodal_data or []
    num_markers = prompt.prompt_string.count(MEDIA_MARKER)
    if not sent:
        return TextPrompt(prompt.prompt_string)
    if num_markers != len(sent):
        path = f"{param}.prompt_string"
        problem = f"{MEDIA_MARKER} stands there {num_markers} times, but multimodal_data has {len(sent)}"
        raise InvalidRequestError(f"{path}: {problem}; send one for each", path)
    parts = [images.at(f"{param}.multimodal_data[{index}]", "image") for index in range(len(sent))]
    seen = [part for part in parts if isinstance(part, ImagePart)]
    assert len(seen) == len(parts), "what a prompt asks about is seen or refused"
    return TextPrompt(prompt.prompt_string, images=seen, image_marker=MEDIA_MARKER)


def _sent(prompt: PromptString, param: str) -> list[SentImage]:
    data: list[Any] = prompt.multimodal_data or []
    paths = [f"{param}.multimodal_data[{index}]" for index in range(len(data))]
    return [
        SentImage(place=path, param=path, text=each if isinstance(each, str) and each else None)
        for path, each in zip(paths, data, strict=True)
    ]
