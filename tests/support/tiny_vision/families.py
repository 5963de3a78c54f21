"""What is different between the tiny vision models, in one table; and the sizes that all have."""

from typing import Final, NamedTuple

WIDTH, NUM_HEADS, NUM_KV_HEADS, FEED_FORWARD, CONTEXT_LENGTH = 64, 4, 2, 128, 1024
HEAD = WIDTH // NUM_HEADS
TOWER_WIDTH, TOWER_HEADS, TOWER_FEED_FORWARD, TOWER_LAYERS = 32, 2, 64, 2
WINDOW_PIXELS, LAYERS_A_WINDOW = 112, 2
"""Of Qwen2.5's tower: the side of its windows, and that every second layer is one without."""
DEEP_LAYERS: Final = (0,)
"""Of Qwen3's tower: those whose states are added to the language model's first layers'."""
WINDOW = 512


class TinyFamily(NamedTuple):
    """A family's tiny model.

    Attributes:
        architecture: `general.architecture` of the text model's GGUF file.
        projector_type: `clip.projector_type`.
        image_size: Side of the square that the tower sees; the longest side of towers that see any size.
        merge: Patches along a side that become one row.
        image_token: In whose place the model's own code puts rows.
        num_layers: Of the text model.
        longest_edge: Tiled towers: to what pictures are scaled before they are cut.
        pixels: Towers of any size: least and most pixels of a picture.
        layer_norm_eps: Of the tower.
        rope_base: Of layers without a window.
        rope_sections: M-RoPE: of a head's 8 pairs, those that turn with time, height and width.
    """

    architecture: str
    projector_type: str
    image_size: int
    patch_size: int
    merge: int
    image_token: str
    num_layers: int = 2
    longest_edge: int | None = None
    pixels: tuple[int, int] | None = None
    layer_norm_eps: float = 1e-6
    rope_base: float = 10_000.0
    rope_sections: tuple[int, int, int] | None = None


def _qwen(architecture: str, projector_type: str, patch_size: int, rope_sections: tuple[int, int, int]) -> TinyFamily:
    return TinyFamily(
        architecture,
        projector_type,
        8 * patch_size,
        patch_size,
        2,
        "<|image_pad|>",
        pixels=(8 * (2 * patch_size) ** 2, 64 * (2 * patch_size) ** 2),
        rope_sections=rope_sections,
    )


TINY_FAMILIES: Final = {
    "llava": TinyFamily("llama", "mlp", 32, 8, 1, "<image>", layer_norm_eps=1e-5),
    "idefics3": TinyFamily("llama", "idefics3", 64, 8, 2, "<image>", longest_edge=128, layer_norm_eps=1e-5),
    "qwen2_vl": _qwen("qwen2vl", "qwen2vl_merger", 14, (2, 3, 3)),
    "qwen2_5_vl": _qwen("qwen2vl", "qwen2.5vl_merger", 14, (2, 3, 3)),
    "qwen3_vl": _qwen("qwen3vl", "qwen3vl_merger", 16, (3, 3, 2)),
    # Every sixth layer of Gemma 3 is one without a window; mlx-vlm 0.7.10 takes there the base of all published ones.
    "gemma3": TinyFamily("gemma3", "gemma3", 64, 8, 2, "<image_soft_token>", num_layers=6, rope_base=1_000_000.0),
}
