"""What adapters in both forms have in common: pairs of matrices, and what is said of one that cannot be used."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from registry.errors import ArtifactError
from registry.facts import AdapterFacts

Shape = tuple[int, ...]

_LEAVES: Final = ("lora_a", "lora_b")


class Lora(NamedTuple):
    """What the headers of an adapter say.

    Attributes:
        pairs: Name of what it changes in the base -> shapes of A and B, as its file has them.
    """

    facts: AdapterFacts
    pairs: dict[str, tuple[Shape, Shape]]


def paired(shapes: Mapping[str, Shape], is_passed_over: Callable[[str], bool]) -> dict[str, tuple[Shape, Shape]]:
    """Bring the matrices of an adapter together, `NAME.lora_a` and `NAME.lora_b` by their name.

    Args:
        is_passed_over: Whether a tensor that is neither may be there.

    Raises:
        ArtifactError: bad_adapter.
    """
    found: defaultdict[str, dict[str, Shape]] = defaultdict(dict)
    for name, shape in shapes.items():
        changed, _, leaf = name.rpartition(".")
        if changed and leaf in _LEAVES:
            found[changed][leaf] = shape
        elif not is_passed_over(name):
            raise bad_adapter(f"the tensor {name[:80]!r} is none of a LoRA (.lora_a, .lora_b)")
    for name, pair in found.items():
        if len(pair) != len(_LEAVES):
            raise bad_adapter(f"it has only one of two tensors for {name[:80]!r}")
    if not found:
        raise bad_adapter("it has no LoRA tensors")
    return {name: (pair["lora_a"], pair["lora_b"]) for name, pair in found.items()}


def bad_adapter(reason: str) -> ArtifactError:
    """Make the error of an adapter that is broken."""
    return ArtifactError("bad_adapter", reason)


def unsupported(reason: str) -> ArtifactError:
    """Make the error of an adapter that no engine loads."""
    return ArtifactError("unsupported_adapter", reason)


def mismatch(reason: str) -> ArtifactError:
    """Make the error of an adapter that was made for another base."""
    return ArtifactError("adapter_mismatch", f"{reason}; it belongs to another model")


def shape_mismatch(name: str, pair: tuple[Shape, Shape], shape: Shape, base_name: str) -> ArtifactError:
    """Make the error of matrices that do not fit what they change, which has the shape `shape`."""
    a, b = map(as_text, pair)
    text = (
        f"its tensors for {name[:80]!r} have the shapes {a} and {b}, which do not fit {as_text(shape)} of {base_name}"
    )
    return mismatch(text)


def as_text(shape: Shape) -> str:
    """Write a shape for a message."""
    return " x ".join(map(str, shape))
