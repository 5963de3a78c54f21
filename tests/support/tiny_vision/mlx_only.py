"""Tiny vision models as MLX folders only: the random weights that mlx-vlm's code begins with."""

import json
from pathlib import Path
from typing import Any, Final

from tests.support.tiny_vision.configuration import Config, config, preprocessor_config
from tests.support.tiny_vision.families import (
    CONTEXT_LENGTH,
    FEED_FORWARD,
    HEAD,
    NUM_HEADS,
    NUM_KV_HEADS,
    TOWER_FEED_FORWARD,
    TOWER_HEADS,
    TOWER_WIDTH,
    WIDTH,
    WINDOW,
)
from tests.support.tiny_vision.folder import write_tokenizer
from tests.support.tiny_vision.model import VisionModel
from tests.support.tiny_vision.vocabulary import BOS_ID, EOS_ID, NUM_TOKENS, token_id

_TEXT: Final[Config] = {
    "model_type": "gemma4_text",
    "hidden_size": WIDTH,
    "intermediate_size": FEED_FORWARD,
    "num_hidden_layers": 6,
    "num_attention_heads": NUM_HEADS,
    "num_key_value_heads": NUM_KV_HEADS,
    "max_position_embeddings": CONTEXT_LENGTH,
    "rms_norm_eps": 1e-6,
    "vocab_size": NUM_TOKENS,
    "head_dim": HEAD,
    "global_head_dim": 2 * HEAD,
    "num_kv_shared_layers": 2,
    "vocab_size_per_layer_input": NUM_TOKENS,
    "hidden_size_per_layer_input": 8,
    "sliding_window": WINDOW,
    "layer_types": ["sliding_attention", "sliding_attention", "full_attention"] * 2,
    "tie_word_embeddings": True,
    "pad_token_id": EOS_ID,
}
_TOWER: Final[Config] = {
    "model_type": "gemma4_vision",
    "hidden_size": TOWER_WIDTH,
    "intermediate_size": TOWER_FEED_FORWARD,
    "num_hidden_layers": 2,
    "num_attention_heads": TOWER_HEADS,
    "num_key_value_heads": TOWER_HEADS,
    "head_dim": TOWER_WIDTH // TOWER_HEADS,
    "global_head_dim": TOWER_WIDTH // TOWER_HEADS,
    "patch_size": 16,
    "pooling_kernel_size": 3,
    "position_embedding_size": 64,
}


def _gemma4(**text: Any) -> Config:
    return {
        "model_type": "gemma4",
        "text_config": _TEXT | text,
        "vision_config": _TOWER,
        "audio_config": None,
        "image_token_id": token_id("<|image|>"),
        "audio_token_id": NUM_TOKENS,
        "hidden_size": WIDTH,
        "pad_token_id": EOS_ID,
    }


def _experts() -> Config:
    whole = config("qwen3_vl")
    experts = {
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
        "moe_intermediate_size": FEED_FORWARD // 4,
    }
    return whole | {
        "model_type": "qwen3_vl_moe",
        "text_config": whole["text_config"] | experts,
        "vision_config": whole["vision_config"] | {"model_type": "qwen3_vl_moe"},
    }


CONFIGS: Final[dict[str, Config]] = {
    "qwen3_vl with experts": _experts(),
    "gemma4": _gemma4(),
    "gemma4 of both sides": _gemma4(hidden_size_per_layer_input=0, use_bidirectional_attention="vision"),
    "gemma4 of short windows": _gemma4(
        hidden_size_per_layer_input=0, use_bidirectional_attention="vision", sliding_window=32
    ),
}
"""config.json of each; of the last two the rows of a picture see each other, as in the family's larger models."""
_GEMMA4_PREPROCESSOR: Final[Config] = {
    "image_mean": [0.5] * 3,
    "image_std": [0.5] * 3,
    "patch_size": 16,
    "pooling_kernel_size": 3,
    "max_soft_tokens": 20,
    "do_normalize": False,
}
MLX_ONLY: Final = tuple(CONFIGS)


def write_mlx_only(folder: Path, name: str) -> VisionModel:
    """Write a model of `CONFIGS`, by its name there."""
    import mlx.core as mx
    from mlx.utils import tree_flatten
    from mlx_vlm.utils import get_model_and_args, update_module_configs

    family = name.partition(" ")[0]
    said = CONFIGS[name] | {"torch_dtype": "float32", "bos_token_id": BOS_ID, "eos_token_id": EOS_ID}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(said))
    architecture, _ = get_model_and_args(said)
    whole = architecture.ModelConfig.from_dict(said)
    mx.random.seed(0)
    model = architecture.Model(update_module_configs(whole, architecture, said, ["text", "vision"]))
    weights = {key: array + 0.2 * mx.random.normal(array.shape) for key, array in tree_flatten(model.parameters())}
    if family == "gemma4":  # whose answers would repeat the last token otherwise
        weights["language_model.model.embed_tokens.weight"] *= 0.1
    mx.save_safetensors(str(folder / "model.safetensors"), weights, metadata={"format": "mlx"})
    preprocessor = _GEMMA4_PREPROCESSOR if family == "gemma4" else preprocessor_config(family)
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    write_tokenizer(folder, family)
    return VisionModel(family, folder / "none.gguf", folder / "none.gguf", {}, folder)
