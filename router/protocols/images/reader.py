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
from router.errors import FileNotFoundHereError, InvalidRequestError, ModelCannotSeeError
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
_MISSING: Final = "it was not sent"
_UNUSABLE: Final = "it cannot be used"

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
            try:
                data = await self._bytes(image, num_left)
            except ImageError:
                if not _may_be_left_out(image, config):
                    raise
                reasons[image.place] = _UNUSABLE
            else:
                num_left -= len(data)
                parts[image.place] = ImagePart(data, image.param, longest_side(image, wish, sides))
        stand_in = served.label if served.model != model_request.model else None
        return served, ReadImages(parts, reasons, stand_in=stand_in)

    def room_beside(self, model_request: ModelRequest, sent: Sequence[SentImage]) -> int:
        """Return how many more pictures a question may have; 0 where neither its model nor another sees any."""
        config = self._current.config.images
        try:
            self._models.resolve(replace(model_request, image_param="input"))
        except ModelCannotSeeError:
            if config.model is None:
                return 0
        return max(0, config.max_per_request - sum(image.is_asked for image in sent))

    def _served(
        self, model_request: ModelRequest, kept: Sequence[SentImage], config: ImagesConfig
    ) -> ModelRequest | None:
        """Return what answers with the pictures in view; None = the model does without them."""
        first = kept[0]
        seeing = replace(model_request, image_param=first.param)
        try:
            self._models.resolve(seeing)
        except ModelCannotSeeError:
            if _may_be_left_out(first, config):
                return None
            chosen = self._models.selected_anew(model_request, first.param)
            if chosen is not None:
                return chosen
            if not first.is_asked or config.model is None:
                raise
            seeing = self._stand_in(config.model, first.param)
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

    async def _bytes(self, image: SentImage, num_left: int) -> bytes:
        """Return a picture's file, of at most so many bytes; errors name its field."""
        try:
            data = await self._read(image)
        except ImageError as exc:
            raise ImageError(f"{image.param}: {exc}", param=image.param) from exc
        if len(data) > num_left:
            problem = f"all images of a request together are larger than {MAX_IMAGES_BYTES >> 20} MiB; shrink them"
            raise ImageError(f"{image.param}: {problem}", param=image.param)
        return data

    async def _read(self, image: SentImage) -> bytes:
        if image.text is not None:
            address = address_in(image.text)
            if address is None:
                return await read_image(image.text)
            return await self._fetch(address)
        assert image.file_id is not None, "what has neither was left out"
        if self.read_file is None:
            raise ImageError(f"there are no files here; {_SEND_DATA}")
        try:
            data = await self.read_file(image.file_id, MAX_IMAGE_BYTES + 1)
        except FileNotFoundHereError as exc:
            raise ImageError(str(exc)) from exc
        if len(data) > MAX_IMAGE_BYTES:
            raise image_too_large()
        return data


def _may_be_left_out(image: SentImage, config: ImagesConfig) -> bool:
    """Tell whether words may stand for a picture: what was said and done before is no reason to refuse a request."""
    return not image.is_asked and config.in_history == "words"


def _readable(sent: Sequence[SentImage], config: ImagesConfig) -> tuple[list[SentImage], dict[str, str]]:
    """Return the pictures to read, those of the question first, then the newest; and why others are left out.

    Raises:
        InvalidRequestError: One cannot be read and not be left out, or there are too many.
    """
    kept: list[SentImage] = []
    reasons: dict[str, str] = {}
    asked = [image for image in sent if image.is_asked]
    for image in (*asked, *(image for image in reversed(sent) if not image.is_asked)):
        found = _problem(image, config, len(kept))
        if found is None:
            kept.append(image)
            continue
        problem, reasons[image.place] = found
        if not _may_be_left_out(image, config):
            raise InvalidRequestError(f"{image.param}: {problem}", image.param)
    return kept, reasons


def _problem(image: SentImage, config: ImagesConfig, num_kept: int) -> tuple[str, str] | None:
    """Return why a picture is not read, for whoever sent it and in its place; None = it is."""
    if image.text is None and image.file_id is None:
        return f"the image is missing; {_SEND_DATA}", _MISSING
    if image.text is not None and config.fetch == "off" and address_in(image.text) is not None:
        way_out = f"addresses are not fetched here (images.fetch: off in the config); {_SEND_DATA}"
        return f"the image is named by an address; {way_out}", _BY_ADDRESS
    if num_kept == config.max_per_request:
        return f"at most {num_kept} images in one request (images.max_per_request in the config)", _TOO_MANY
    return None
