"""What is different between the tiny vision models, in one table; and the sizes that all have."""

from typing import Final, NamedTuple

WIDTH, NUM_HEADS, NUM_KV_HEADS, FEED_FORWARD, CONTEXT_LENGTH = 64, 4, 2, 128, 1024
HEAD = WIDTH // NUM_HEADS
TOWER_WIDTH, TOWER_HEADS, TOWER_FEED_FORWARD, TOWER_LAYERS = 32, 2, 64, 2
ROPE_SECTIONS: Final = (2, 3, 3)
"""Of a head's 8 pairs, those that turn with time, height and width."""
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


TINY_FAMILIES: Final = {
    "llava": TinyFamily("llama", "mlp", 32, 8, 1, "<image>", layer_norm_eps=1e-5),
    "idefics3": TinyFamily("llama", "idefics3", 64, 8, 2, "<image>", longest_edge=128, layer_norm_eps=1e-5),
    "qwen2_vl": TinyFamily("qwen2vl", "qwen2vl_merger", 112, 14, 2, "<|image_pad|>", pixels=(8 * 784, 64 * 784)),
    # Every sixth layer of Gemma 3 is one without a window; mlx-vlm 0.7.10 takes there the base of all published ones.
    "gemma3": TinyFamily("gemma3", "gemma3", 64, 8, 2, "<image_soft_token>", num_layers=6, rope_base=1_000_000.0),
}
