"""Tiny vision models of further families, as MLX folders only: the random weights that mlx-vlm's code begins with."""

import json
from pathlib import Path
from typing import Any, Final

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

Config = dict[str, Any]

TEXT: Final[Config] = {
    "hidden_size": WIDTH,
    "intermediate_size": FEED_FORWARD,
    "num_hidden_layers": 3,
    "num_attention_heads": NUM_HEADS,
    "num_key_value_heads": NUM_KV_HEADS,
    "max_position_embeddings": CONTEXT_LENGTH,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "vocab_size": NUM_TOKENS,
    "tie_word_embeddings": False,
}
QWEN: Final[Config] = {
    "image_token_id": token_id("<|image_pad|>"),
    "video_token_id": token_id("<|video_pad|>"),
    "vision_start_token_id": token_id("<|vision_start|>"),
    "vision_end_token_id": token_id("<|vision_end|>"),
}
QWEN_TOWER: Final[Config] = {
    "depth": 3,
    "hidden_size": TOWER_WIDTH,
    "intermediate_size": TOWER_FEED_FORWARD,
    "out_hidden_size": WIDTH,
    "num_heads": TOWER_HEADS,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "in_channels": 3,
}
QWEN3_TEXT: Final[Config] = TEXT | {
    "model_type": "qwen3_vl_text",
    "head_dim": HEAD,
    "rope_scaling": {"type": "default", "mrope_section": [4, 2, 2], "mrope_interleaved": True},
}
GEMMA4_TEXT: Final[Config] = TEXT | {
    "model_type": "gemma4_text",
    "num_hidden_layers": 6,
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
GEMMA4_TOWER: Final[Config] = {
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
        "text_config": GEMMA4_TEXT | text,
        "vision_config": GEMMA4_TOWER,
        "audio_config": None,
        "image_token_id": token_id("<|image|>"),
        "audio_token_id": NUM_TOKENS,
        "hidden_size": WIDTH,
        "pad_token_id": EOS_ID,
    }


CONFIGS: Final[dict[str, Config]] = {
    "qwen2_5_vl of small windows": TEXT
    | QWEN
    | {
        "model_type": "qwen2_5_vl",
        "rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]},
        "vision_config": QWEN_TOWER
        | {"model_type": "qwen2_5_vl", "patch_size": 14, "window_size": 56, "fullatt_block_indexes": [1]},
    },
    "qwen3_vl of two deep layers": QWEN
    | {
        "model_type": "qwen3_vl",
        "text_config": QWEN3_TEXT,
        "vision_config": QWEN_TOWER
        | {
            "model_type": "qwen3_vl",
            "patch_size": 16,
            "num_position_embeddings": 16,
            "deepstack_visual_indexes": [0, 1],
        },
    },
    "gemma4": _gemma4(),
    "gemma4 of both sides": _gemma4(hidden_size_per_layer_input=0, use_bidirectional_attention="vision"),
    "gemma4 of short windows": _gemma4(
        hidden_size_per_layer_input=0, use_bidirectional_attention="vision", sliding_window=32
    ),
}
"""config.json of each, by family and what is special; of the last two the rows of a picture see each other, as in the
family's larger models."""
PREPROCESSORS: Final[dict[str, Config]] = {
    "qwen2_5_vl": {"patch_size": 14, "merge_size": 2, "min_pixels": 8 * 784, "max_pixels": 32 * 784},
    "qwen3_vl": {"patch_size": 16, "merge_size": 2, "min_pixels": 8 * 1024, "max_pixels": 32 * 1024},
    "gemma4": {"patch_size": 16, "pooling_kernel_size": 3, "max_soft_tokens": 20, "do_normalize": False},
}
FURTHER_FAMILIES: Final = tuple(CONFIGS)


def write_random_folder(folder: Path, name: str) -> VisionModel:
    """Write a random model of `CONFIGS`."""
    import mlx.core as mx
    from mlx.utils import tree_flatten
    from mlx_vlm.utils import get_model_and_args, update_module_configs

    family = name.partition(" ")[0]
    config = CONFIGS[name] | {"torch_dtype": "float32", "bos_token_id": BOS_ID, "eos_token_id": EOS_ID}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    filled = json.loads(json.dumps(config))
    filled.setdefault("text_config", {})
    architecture, _ = get_model_and_args(filled)
    whole = architecture.ModelConfig.from_dict(filled)
    mx.random.seed(0)
    model = architecture.Model(update_module_configs(whole, architecture, filled, ["text", "vision"]))
    weights = {key: array + 0.2 * mx.random.normal(array.shape) for key, array in tree_flatten(model.parameters())}
    if family == "gemma4":  # whose answers would repeat the last token otherwise
        weights["language_model.model.embed_tokens.weight"] *= 0.1
    mx.save_safetensors(str(folder / "model.safetensors"), weights, metadata={"format": "mlx"})
    preprocessor = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3} | PREPROCESSORS[family]
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    write_tokenizer(folder, family)
    return VisionModel(family, folder / "none.gguf", folder / "none.gguf", {}, folder)
