"""A deep tiny model of which most layers change nothing, and its first layers as a model of their own.

Both give the same answers, at very different costs: what a large model and a perfect draft model are to each other. A
step of so small a model is bound by its number of operations, so that rows of one are cheap, as they are where memory
is what bounds it.
"""

from pathlib import Path

import numpy as np

from tests.support import tiny_model

_SHARPNESS = 5
"""What the output is multiplied by, so that one token is far likelier than the others."""


def write_pair(folder: Path, num_layers: int, *, context_length: int = 2048, noise: float = 0.0) -> tuple[Path, Path]:
    """Write both as GGUF; return the deep one and the other.

    Args:
        num_layers: Of the deep one.
        noise: How much the other one's output differs, as a share; 0 = it is always right.
    """
    rng = np.random.default_rng(7)
    shared = tiny_model.weights(0)
    output = shared["output"] * _SHARPNESS
    deep = shared | {"output": output}
    for layer in range(tiny_model.NUM_LAYERS, num_layers):
        deep |= _idle_layer(rng, layer)
    other = shared | {"output": output + _SHARPNESS * noise * tiny_model.random_tensor(rng, output.shape)}
    paths = folder / "deep.gguf", folder / "draft.gguf"
    for path, tensors, num in zip(paths, (deep, other), (num_layers, tiny_model.NUM_LAYERS), strict=True):
        tiny_model.write_gguf(path, name=path.stem, tensors=tensors, context_length=context_length, num_layers=num)
    return paths


def _idle_layer(rng: np.random.Generator, layer: int) -> tiny_model.Tensors:
    """Return a layer that computes as any other, and adds nothing."""
    norms: tiny_model.Shapes = {"attn_norm": (tiny_model.WIDTH,), "ffn_norm": (tiny_model.WIDTH,)}
    shapes = norms | tiny_model.attention_shapes() | tiny_model.feed_forward_shapes()
    return tiny_model.random_layer(rng, layer, shapes, {"attn_output": 0.0, "ffn_down": 0.0})
