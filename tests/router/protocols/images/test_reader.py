"""Which pictures are read, who answers, and how large they are shown; nothing is generated here."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import pytest

from backends.errors import ImageError
from backends.wire.prompts import ImagePart, TextPart
from registry.engines import Engine, EngineKind
from registry.errors import ModelNotFoundError
from router.config import Config, CurrentConfig
from router.config.images import ImagesConfig
from router.errors import FileNotFoundHereError, InvalidRequestError, ModelCannotSeeError, StoreUnavailableError
from router.http.ignored import noting_ignored
from router.models.model_request import ModelRequest
from router.models.targets import Choice, EngineReason, LocalArtifact, Target
from router.placement.vision_need import ImageSides
from router.protocols.images import reader as reader_module
from router.protocols.images.read import NO_IMAGES, ReadImages
from router.protocols.images.reader import ImageReader
from router.protocols.images.sent import SentImage
from tests.support.seeing_model import as_base64, data_uri, photo

PHOTO: Final = photo()
SIDES: Final = ImageSides(448, 1344)
ADDRESS: Final = "https://pictures.example/a.png"


class _Models:
    """A directory in which only `seeing` sees."""

    def model_request(self, name: str) -> ModelRequest:
        if name == "missing":
            raise ModelNotFoundError(name, [])
        return ModelRequest(name)

    def selected_anew(self, model_request: ModelRequest, image_param: str) -> ModelRequest | None:
        if model_request.selector is None:
            return None
        return msgspec.structs.replace(model_request, model="seeing", image_param=image_param)

    def resolve(self, model_request: ModelRequest) -> Choice:
        if model_request.image_param is not None and model_request.model != "seeing":
            raise ModelCannotSeeError(model_request.model, "no tower", "ask 'seeing'", model_request.image_param)
        source = LocalArtifact(1, "/m.gguf")
        return Choice(Target(model_request.model, Engine(EngineKind.LLAMACPP), source), EngineReason.AUTO_GGUF)


def image_at(index: int = 0, text: str | None = data_uri(PHOTO), **changes: Any) -> SentImage:
    place = f"messages[0].content[{index}]"
    return SentImage(**{"place": place, "param": f"{place}.image_url", "text": text} | changes)


async def read(
    sent: Sequence[SentImage],
    asked: str = "seeing",
    *,
    wish: int | None = None,
    selector: str | None = None,
    **config: Any,
) -> tuple[ModelRequest, ReadImages]:
    async def sides_of(_: Target) -> ImageSides:
        return SIDES

    async def fetch(address: str) -> bytes:
        if "gone" in address:
            raise ImageError("the address answers with status 404")
        return address.encode()

    async def read_file(file_id: str, max_bytes: int) -> bytes:
        if file_id == "file-busy":
            raise StoreUnavailableError("the database is locked")
        if file_id != "file-1":
            raise FileNotFoundHereError(file_id, "file_id")
        return PHOTO[:max_bytes]

    current = CurrentConfig(Config(images=ImagesConfig(**config)))
    models: Any = _Models()
    reader = ImageReader(current, models, sides_of, fetch=fetch)
    reader.read_file = read_file
    return await reader.read(ModelRequest(asked, selector=selector), sent, wish)


def shown(images: ReadImages, index: int = 0) -> Any:
    with noting_ignored("test"):
        return images.at(f"messages[0].content[{index}]", "image_url")


async def test_a_request_without_pictures_goes_where_it_went() -> None:
    assert await read([], "blind") == (ModelRequest("blind"), NO_IMAGES)


@pytest.mark.parametrize(
    "source",
    [
        *({"text": data_uri(PHOTO)}, {"text": as_base64(PHOTO)}, {"text": as_base64(PHOTO).rstrip("=")}),
        {"text": None, "file_id": "file-1"},
    ],
)
async def test_a_picture_is_read_from_wherever_it_stands(source: dict[str, Any]) -> None:
    request, images = await read([image_at(**source)])
    assert request == ModelRequest("seeing", image_param="messages[0].content[0].image_url")
    assert shown(images) == ImagePart(PHOTO, "messages[0].content[0].image_url", 448)
    assert images.stand_in is None


async def test_an_address_is_fetched_where_the_config_says_so() -> None:
    _, images = await read([image_at(text=f" {ADDRESS} ")], fetch="public")
    assert shown(images).data == ADDRESS.encode()


@pytest.mark.parametrize(
    ("detail", "wish", "side"),
    [
        *((None, None, 448), ("auto", None, 448), ("low", None, 192), ("high", None, 1344), ("original", None, 1344)),
        *((None, 256, 256), ("high", 256, 256), (None, 8000, 1344)),
    ],
)
async def test_how_large_it_is_shown(detail: Any, wish: int | None, side: int) -> None:
    _, images = await read([image_at(detail=detail)], wish=wish)
    assert shown(images).max_side == side


async def test_a_question_to_a_model_that_cannot_see_names_its_picture() -> None:
    earlier, asked = image_at(0, is_asked=False), image_at(1)
    with pytest.raises(ModelCannotSeeError, match="ask 'seeing'") as caught:
        await read([earlier, asked], "blind")
    assert caught.value.param == asked.param


async def test_the_model_of_the_config_answers_in_its_place() -> None:
    request, images = await read([image_at()], "blind", model="seeing")
    assert (request.model, request.has_images, images.stand_in) == ("seeing", True, "seeing")
    assert isinstance(shown(images), ImagePart)
    with pytest.raises(ModelCannotSeeError):
        await read([image_at()], "blind", model="other")
    with pytest.raises(InvalidRequestError, match=r"images\.model of the config names no model here") as caught:
        await read([image_at()], "blind", model="missing")
    assert caught.value.param == image_at().param


async def test_a_selector_that_chose_a_model_without_eyes_chooses_again_for_a_question_with_a_picture() -> None:
    request, images = await read([image_at()], "blind", selector="auto:small", model="other")
    assert (request.model, request.has_images, images.stand_in) == ("seeing", True, "seeing")
    request, _ = await read([image_at(is_asked=False)], "blind", selector="auto:small")
    assert request.model == "blind", "words do"


async def test_what_lies_behind_the_question_is_said_in_words_or_refused() -> None:
    earlier = image_at(is_asked=False)
    request, images = await read([earlier], "blind", model="seeing")
    assert request == ModelRequest("blind"), "words do, and nobody else has to be loaded"
    assert shown(images) == TextPart("[image left out: this model reads text]")
    with pytest.raises(ModelCannotSeeError):
        await read([earlier], "blind", in_history="refuse")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"text": ADDRESS}, r"images\.fetch: off"),
        ({"text": None}, "the image is missing"),
        ({"text": "file:///etc/passwd"}, "is an address"),
        ({"text": "@@@"}, "is not base64"),
        ({"text": None, "file_id": "file-2"}, "file-2"),
    ],
)
async def test_a_picture_that_cannot_be_read_is_refused_by_its_field(source: dict[str, Any], words: str) -> None:
    with pytest.raises((InvalidRequestError, ImageError), match=words) as caught:
        await read([image_at(**source)])
    assert getattr(caught.value, "param", None) == "messages[0].content[0].image_url"
    assert str(caught.value).startswith("messages[0].content[0].image_url: ")


async def test_an_earlier_address_that_is_not_fetched_ends_no_conversation() -> None:
    request, images = await read([image_at(0, ADDRESS, is_asked=False), image_at(1)])
    assert request.has_images
    assert shown(images) == TextPart("[image left out: it is named by an address, which is not fetched here]")
    assert isinstance(shown(images, 1), ImagePart)
    with pytest.raises(InvalidRequestError, match=r"images\.fetch"):
        await read([image_at(0, ADDRESS, is_asked=False)], in_history="refuse")


async def test_of_too_many_the_oldest_are_left_out_and_a_question_is_refused() -> None:
    sent = [image_at(index, is_asked=index == 3) for index in range(4)]
    _, images = await read(sent, max_per_request=2)
    kinds = [type(shown(images, index)) for index in range(4)]
    assert kinds == [TextPart, TextPart, ImagePart, ImagePart]
    assert shown(images, 0) == TextPart("[image left out: there are too many images]")
    with pytest.raises(InvalidRequestError, match="at most 2 images"):
        await read([image_at(index) for index in range(3)], max_per_request=2)


async def test_a_questions_picture_outlasts_those_of_the_work_on_it() -> None:
    """An agent that was shown one goes on to look at more of its own than fit."""
    sent = [image_at(index, is_asked=index == 0) for index in range(4)]
    _, images = await read(sent, max_per_request=2)
    assert [type(shown(images, index)) for index in range(4)] == [ImagePart, TextPart, TextPart, ImagePart]


async def test_all_pictures_together_fit_a_frame_to_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "MAX_IMAGES_BYTES", 2 * len(PHOTO))
    await read([image_at(0), image_at(1)])
    with pytest.raises(ImageError, match="together are larger") as caught:
        await read([image_at(index) for index in range(3)])
    assert caught.value.param == "messages[0].content[2].image_url"
    _, images = await read([image_at(index, is_asked=index == 0) for index in range(4)])
    assert [type(shown(images, index)) for index in range(4)] == [ImagePart, TextPart, TextPart, ImagePart]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ({"text": None}, "it was not sent"),
        ({"text": "@@@"}, "it cannot be used"),
        ({"text": None, "file_id": "file-2"}, "it cannot be used"),
        ({"text": "https://gone.example/a.png"}, "it cannot be used"),
    ],
)
async def test_an_earlier_picture_that_is_gone_ends_no_conversation(source: dict[str, Any], reason: str) -> None:
    earlier = image_at(0, **source, is_asked=False)
    _, images = await read([earlier, image_at(1)], fetch="public")
    assert shown(images) == TextPart(f"[image left out: {reason}]")
    assert isinstance(shown(images, 1), ImagePart)
    with pytest.raises((InvalidRequestError, ImageError)):
        await read([earlier, image_at(1)], fetch="public", in_history="refuse")


async def test_a_store_that_cannot_be_read_is_no_mistake_of_the_request() -> None:
    with pytest.raises(StoreUnavailableError):
        await read([image_at(text=None, file_id="file-busy")])
