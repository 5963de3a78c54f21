"""From the pictures of a body to those that a model is shown: who answers, which are read, and their bytes.

The one reader of all protocols. A picture is never decoded to pixels here; that is the worker's.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from msgspec.structs import replace

from backends.errors import ImageError
from backends.wire.prompts import MAX_IMAGE_BYTES, ImagePart, image_too_large
from registry.errors import InvalidModelNameError, ModelNotFoundError
from router.config import CurrentConfig
from router.config.images import ImagesConfig
from router.errors import InvalidRequestError, ModelCannotSeeError, RouterError
from router.models.directory import ModelDirectory
from router.models.model_request import ModelRequest
from router.models.targets import Target
from router.placement.vision_need import ImageSides
from router.protocols.images.read import NO_IMAGES, ReadImages
from router.protocols.images.sent import SentImage, longest_side
from router.protocols.images.source import address_in, read_image

MAX_IMAGES_BYTES: Final = 30 << 20
"""Of all pictures of a request: they and its body go to the worker in one frame."""
_SEND_DATA: Final = "send the file's content as a data: URI (data:image/png;base64,...)"
_BY_ADDRESS: Final = "it is named by an address, which is not fetched here"
_TOO_MANY: Final = "there are too many images"

ReadFile = Callable[[str, int], Awaitable[bytes]]
"""Reads an uploaded file by its id, with a limit of bytes."""
Fetch = Callable[[str], Awaitable[bytes]]
"""Fetches what stands behind an address."""


class ImageReader:
    """Reads the pictures of requests.

    Args:
        sides_of: Says how large a target is shown pictures.
        fetch: Fetches what stands behind an address.

    Attributes:
        read_file: None = there are no files.
    """

    def __init__(
        self,
        current: CurrentConfig,
        models: ModelDirectory,
        sides_of: Callable[[Target], Awaitable[ImageSides]],
        *,
        fetch: Fetch,
    ) -> None:
        self._current = current
        self._models = models
        self._sides_of = sides_of
        self._fetch = fetch
        self.read_file: ReadFile | None = None

    async def read(
        self, model_request: ModelRequest, sent: Sequence[SentImage], wish: int | None = None
    ) -> tuple[ModelRequest, ReadImages]:
        """Return who is to answer, and the pictures that it is shown.

        Args:
            wish: Pixels of the longer side that the request wants, or None.

        Raises:
            ImageError: A picture of the question cannot be used.
            RouterError: The request cannot be served with its pictures.
            RegistryError: A model is unknown.
        """
        config = self._current.config.images
        kept, reasons = _readable(sent, config)
        if not kept:
            return model_request, ReadImages({}, reasons) if reasons else NO_IMAGES
        served = self._served(model_request, kept, config)
        if served is None:
            return model_request, NO_IMAGES
        sides = await self._sides_of(self._models.resolve(served).target)
        parts: dict[str, ImagePart] = {}
        num_left = MAX_IMAGES_BYTES
        for image in kept:
            data = await self._bytes(image)
            num_left -= len(data)
            if num_left < 0:
                problem = f"all images of a request together are larger than {MAX_IMAGES_BYTES >> 20} MiB; shrink them"
                raise ImageError(f"{image.param}: {problem}", param=image.param)
            parts[image.place] = ImagePart(data, image.param, longest_side(image, wish, sides))
        stand_in = served.label if served.model != model_request.model else None
        return served, ReadImages(parts, reasons, stand_in=stand_in)

    def _served(
        self, model_request: ModelRequest, kept: Sequence[SentImage], config: ImagesConfig
    ) -> ModelRequest | None:
        """Return what answers with the pictures in view; None = the model does without them."""
        asked = [image for image in kept if image.is_asked]
        param = (asked or kept)[0].param
        seeing = replace(model_request, image_param=param)
        try:
            self._models.resolve(seeing)
        except ModelCannotSeeError:
            if not asked and config.in_history == "words":
                return None
            if not asked or config.model is None:
                raise
            seeing = self._stand_in(config.model, param)
        return seeing

    def _stand_in(self, name: str, param: str) -> ModelRequest:
        """Return the model that answers questions with pictures, by the config.

        Raises:
            RouterError: There is no such model, it cannot see either, or cannot be served.
            RegistryError: The registry cannot be read.
        """
        try:
            stand_in = replace(self._models.model_request(name), image_param=param)
            self._models.resolve(stand_in)
        except (ModelNotFoundError, InvalidModelNameError) as exc:
            problem = f"{param}: images.model of the config names no model here ({exc}); mend it, or send no images"
            raise InvalidRequestError(problem, param) from exc
        return stand_in

    async def _bytes(self, image: SentImage) -> bytes:
        """Return a picture's file; errors name its field."""
        try:
            return await self._read(image)
        except ImageError as exc:
            raise ImageError(f"{image.param}: {exc}", param=image.param) from exc

    async def _read(self, image: SentImage) -> bytes:
        if image.text is not None:
            address = address_in(image.text)
            if address is None:
                return await read_image(image.text)
            return await self._fetch(address)
        assert image.file_id is not None, "what has neither was left out"
        if self.read_file is None:
            raise InvalidRequestError(f"{image.param}: there are no files here; {_SEND_DATA}", image.param)
        try:
            data = await self.read_file(image.file_id, MAX_IMAGE_BYTES + 1)
        except RouterError as exc:
            raise InvalidRequestError(f"{image.param}: {exc}", image.param) from exc
        if len(data) > MAX_IMAGE_BYTES:
            raise image_too_large()
        return data


def _readable(sent: Sequence[SentImage], config: ImagesConfig) -> tuple[list[SentImage], dict[str, str]]:
    """Return the pictures that can be read, and why others are left out, by their places; earlier ones may be.

    Raises:
        InvalidRequestError: One of the question cannot be, or there are too many.
    """
    kept: list[SentImage] = []
    reasons: dict[str, str] = {}
    is_lenient = config.in_history == "words"
    num_left = config.max_per_request
    for image in reversed(sent):
        problem, reason = _problem(image, config, num_left)
        if problem is None:
            kept.append(image)
            num_left -= 1
        elif image.is_asked or not is_lenient:
            raise InvalidRequestError(f"{image.param}: {problem}", image.param)
        elif reason is not None:
            reasons[image.place] = reason
    return kept[::-1], reasons


def _problem(image: SentImage, config: ImagesConfig, num_left: int) -> tuple[str | None, str | None]:
    """Return why a picture cannot be read, for whoever sent it and in its place; None = it can."""
    if image.text is None and image.file_id is None:
        return f"the image is missing; {_SEND_DATA}", None
    if image.text is not None and config.fetch == "off" and address_in(image.text) is not None:
        way_out = f"addresses are not fetched here (images.fetch: off in the config); {_SEND_DATA}"
        return f"the image is named by an address; {way_out}", _BY_ADDRESS
    if num_left <= 0:
        most = config.max_per_request
        return f"at most {most} images in one request (images.max_per_request in the config)", _TOO_MANY
    return None, None
