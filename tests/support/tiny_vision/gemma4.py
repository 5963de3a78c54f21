"""Tiny models of Gemma 4, as MLX folders only: the random weights that mlx-vlm's code begins with."""

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


CONFIGS: Final[dict[str, Config]] = {
    "gemma4": _gemma4(),
    "gemma4 of both sides": _gemma4(hidden_size_per_layer_input=0, use_bidirectional_attention="vision"),
    "gemma4 of short windows": _gemma4(
        hidden_size_per_layer_input=0, use_bidirectional_attention="vision", sliding_window=32
    ),
}
"""config.json of each; of the last two the rows of a picture see each other, as in the family's larger models."""
_PREPROCESSOR: Final[Config] = {
    "image_mean": [0.5] * 3,
    "image_std": [0.5] * 3,
    "patch_size": 16,
    "pooling_kernel_size": 3,
    "max_soft_tokens": 20,
    "do_normalize": False,
}
GEMMA4_KINDS: Final = tuple(CONFIGS)


def write_gemma4(folder: Path, name: str) -> VisionModel:
    """Write a model of `CONFIGS`, by its name there."""
    import mlx.core as mx
    from mlx.utils import tree_flatten
    from mlx_vlm.utils import get_model_and_args, update_module_configs

    config = CONFIGS[name] | {"torch_dtype": "float32", "bos_token_id": BOS_ID, "eos_token_id": EOS_ID}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    architecture, _ = get_model_and_args(config)
    whole = architecture.ModelConfig.from_dict(config)
    mx.random.seed(0)
    model = architecture.Model(update_module_configs(whole, architecture, config, ["text", "vision"]))
    weights = {key: array + 0.2 * mx.random.normal(array.shape) for key, array in tree_flatten(model.parameters())}
    weights["language_model.model.embed_tokens.weight"] *= 0.1  # or answers would repeat the last token
    mx.save_safetensors(str(folder / "model.safetensors"), weights, metadata={"format": "mlx"})
    (folder / "preprocessor_config.json").write_text(json.dumps(_PREPROCESSOR))
    write_tokenizer(folder, "gemma4")
    return VisionModel("gemma4", folder / "none.gguf", folder / "none.gguf", {}, folder)
