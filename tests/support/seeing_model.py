"""A model of the registry that sees, for fronts over the fake engine: what its projector's header says is enough."""

import base64
from typing import Any

import msgspec
from PIL import Image

from registry.catalogue import ArtifactDraft
from registry.store import Registry
from registry.vision import VisionFacts
from tests.registry.catalogue_builder import make_draft, make_facts
from tests.support import tiny_projector
from tests.support.image_files import encoded, picture

SEEING = "seeing"


def add_seeing_model(registry: Registry, name: str = SEEING, family: str = "gemma3") -> None:
    """Register a GGUF model with a projector of a family."""
    metadata = tiny_projector.metadata_of(family)
    vision = VisionFacts(
        kind=metadata["clip.projector_type"],
        has_vision=True,
        width=64,
        image_size=metadata["clip.vision.image_size"],
        patch_size=metadata["clip.vision.patch_size"],
        num_heads=2,
        version="v1",
        metadata=tuple((key, tuple(value) if isinstance(value, list) else value) for key, value in metadata.items()),
    )
    facts = msgspec.structs.replace(make_facts(parameter_count=8), vision=vision)
    draft: ArtifactDraft = make_draft(f"/{name}.gguf", name=name, facts=facts)
    registry.artifacts.add(msgspec.structs.replace(draft, mmproj_path=f"/{name}.mmproj.gguf"))


def photo(width: int = 90, height: int = 60, colour: str | None = None) -> bytes:
    """Return a PNG, of one colour or of four."""
    return encoded(Image.new("RGB", (width, height), colour) if colour else picture(width, height), "PNG")


def as_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def data_uri(data: bytes) -> str:
    return f"data:image/png;base64,{as_base64(data)}"


def chat_part(data: bytes, **more: Any) -> dict[str, Any]:
    """Return a picture as OpenAI's chats have it."""
    return {"type": "image_url", "image_url": {"url": data_uri(data), **more}}
