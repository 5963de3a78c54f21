"""Pictures of requests, prepared for one loaded model: what its files say of its tower is read once.

The errors name the request's field that carries the picture.
"""

from pathlib import Path
from typing import Any, Final

import msgspec

from backends.errors import ImageError
from backends.images.decoding import original_size
from backends.images.families import family_of
from backends.images.folder import tower_of_folder
from backends.images.preparing import Prepared, planned, prepare
from backends.images.projector import tower_of_projector
from backends.images.prompt_image import ImageFacts, PromptImage
from backends.images.tower import Tower, unsupported
from backends.row_ids import tile_digest
from backends.sequence import Tile
from backends.wire.load import VisionSpec
from backends.wire.prompts import ImagePart

_MAX_JSON_BYTES: Final = 16 * 2**20


def tower_of(vision: VisionSpec, model_path: str) -> Tower:
    """Read how a model sees: from its projector's metadata, or from its folder.

    Raises:
        UnsupportedByModelError: It sees in no way that is known here.
    """
    if vision.projector_metadata:
        return tower_of_projector(
            vision.family,
            vision.projector_metadata,
            text_width=vision.text_width,
            has_class_token=vision.has_class_token,
        )
    folder = Path(model_path)
    names = ("preprocessor_config.json", "processor_config.json")
    preprocessor = next((path for name in names if (path := folder / name).is_file()), None)
    if preprocessor is None:
        raise unsupported(f"its folder lacks {names[0]}; pull the model anew")
    return tower_of_folder(vision.family, _json(folder / "config.json"), _json(preprocessor))


def _json(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(_MAX_JSON_BYTES), type=dict[str, Any])
    except (OSError, msgspec.DecodeError) as exc:
        raise unsupported(f"{path.name} cannot be read ({exc}); pull the model anew") from exc


def create_processor(vision: VisionSpec, model_path: str) -> "ImageProcessor":
    """Return what prepares pictures for a model.

    Raises:
        UnsupportedByModelError: It sees in no way that is known here.
    """
    return ImageProcessor(tower_of(vision, model_path), vision.fingerprint)


class ImageProcessor:
    """Prepares pictures for a tower.

    Args:
        fingerprint: Of the weights that make rows.
    """

    def __init__(self, tower: Tower, fingerprint: str) -> None:
        self.tower = tower
        self._fingerprint = f"{fingerprint} {tower.mean} {tower.std}"  # with which the same weights see other colours
        family = family_of(tower.family)
        self.facts = ImageFacts(family.written, family.reserved, tower.is_bidirectional)

    def num_rows(self, part: ImagePart) -> int:
        """Read from a file's header how many rows stand for its picture; decodes nothing.

        Raises:
            ImageError: As far as the header goes, the file cannot be used.
        """
        try:
            return planned(original_size(part.data), self.tower, part.max_side).num_rows
        except ImageError as exc:
            raise _named(exc, part) from exc

    def prepare(self, part: ImagePart) -> PromptImage:
        """Decode a picture and make of it what the tower sees.

        Raises:
            ImageError: The file cannot be used.
        """
        try:
            return self._placed(prepare(part.data, self.tower, part.max_side))
        except ImageError as exc:
            raise _named(exc, part) from exc

    def _placed(self, prepared: Prepared) -> PromptImage:
        family, grid = self.tower.family, prepared.layout.tile_grid
        tiles = [
            Tile(tile_digest(pixels, grid, family=family, fingerprint=self._fingerprint), pixels, grid)
            for pixels in prepared.tiles
        ]
        pieces = tuple(tiles[piece] if isinstance(piece, int) else piece for piece in prepared.around)
        return PromptImage(pieces, prepared.original, prepared.layout.seen)


def _named(exc: ImageError, part: ImagePart) -> ImageError:
    return ImageError(f"{part.param}: {exc}", param=part.param)
