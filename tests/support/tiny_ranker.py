"""The tiny model's layers as a Qwen3 that ranks: it sees a pair from left to right, and its own template writes it."""

from pathlib import Path

import numpy as np

from tests.support import tiny_model

TEMPLATE = "<|im_start|>{query}\n{document}<|im_end|>"
_HEAD_WIDTH = tiny_model.WIDTH // tiny_model.NUM_HEADS


def write_gguf(path: Path) -> Path:
    """Write the model, which tells yes from no, as Qwen's rerankers do."""
    import gguf

    length = tiny_model.CONTEXT_LENGTH
    writer = tiny_model.begin_gguf(path, "qwen3", num_layers=tiny_model.NUM_LAYERS, context_length=length)
    writer.add_head_count_kv(tiny_model.NUM_KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_key_length(_HEAD_WIDTH)
    writer.add_value_length(_HEAD_WIDTH)
    writer.add_rope_dimension_count(_HEAD_WIDTH)
    writer.add_pooling_type(gguf.PoolingType.RANK)
    writer.add_classifier_output_labels(["yes", "no"])
    named = tiny_model.weights(0).items()
    tensors = {f"{name}.weight": tiny_model.in_gguf_order(name, tensor) for name, tensor in named}
    for layer in range(tiny_model.NUM_LAYERS):
        for name in ("attn_q_norm", "attn_k_norm"):
            tensors[f"blk.{layer}.{name}.weight"] = np.ones(_HEAD_WIDTH, np.float32)
    rng = np.random.default_rng(3)
    tensors["cls.output.weight"] = tiny_model.random_tensor(rng, (2, tiny_model.WIDTH))
    tiny_model.finish_gguf(writer, tensors, [{"name": "rerank", "template": TEMPLATE}])
    return path
