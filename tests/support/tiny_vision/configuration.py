"""config.json and the processor's files of the tiny vision models."""

from typing import Any

from tests.support.tiny_vision.families import (
    CONTEXT_LENGTH,
    DEEP_LAYERS,
    FEED_FORWARD,
    HEAD,
    LAYERS_A_WINDOW,
    NUM_HEADS,
    NUM_KV_HEADS,
    TINY_FAMILIES,
    TOWER_FEED_FORWARD,
    TOWER_HEADS,
    TOWER_LAYERS,
    TOWER_WIDTH,
    WIDTH,
    WINDOW,
    WINDOW_PIXELS,
)
from tests.support.tiny_vision.vocabulary import BOS_ID, EOS_ID, NUM_TOKENS, token_id

Config = dict[str, Any]


def config(family: str) -> Config:
    """Return config.json."""
    facts = TINY_FAMILIES[family]
    whole: Config = {
        "model_type": family,
        "torch_dtype": "float32",
        "bos_token_id": BOS_ID,
        "eos_token_id": EOS_ID,
        "vocab_size": NUM_TOKENS,
        "text_config": _text(family),
        "vision_config": _siglip(family),
    }
    image_id = token_id(facts.image_token)
    match family:
        case "llava":
            return whole | {
                "architectures": ["LlavaForConditionalGeneration"],
                "image_token_index": image_id,
                "vision_feature_layer": -2,
                "vision_feature_select_strategy": "full",
            }
        case "idefics3":
            whole["vision_config"]["model_type"] = "idefics3_vision"
            return whole | {
                "architectures": ["Idefics3ForConditionalGeneration"],
                "image_token_id": image_id,
                "scale_factor": facts.merge,
            }
        case "gemma3":
            return whole | _gemma3(image_id)
        case "qwen3_vl":
            return whole | _qwen(family, image_id)
        case _:
            return whole | _text(family) | _qwen(family, image_id)


def _text(family: str) -> Config:
    facts = TINY_FAMILIES[family]
    text: Config = {
        "model_type": "llama",
        "hidden_size": WIDTH,
        "intermediate_size": FEED_FORWARD,
        "num_hidden_layers": facts.num_layers,
        "num_attention_heads": NUM_HEADS,
        "num_key_value_heads": NUM_KV_HEADS,
        "max_position_embeddings": CONTEXT_LENGTH,
        "rms_norm_eps": 1e-6,
        "rope_theta": facts.rope_base,
        "vocab_size": NUM_TOKENS,
        "tie_word_embeddings": False,
    }
    if facts.rope_sections is not None:
        text["rope_scaling"] = {"type": "mrope", "mrope_section": list(facts.rope_sections)}
    if family == "qwen3_vl":
        text |= {"model_type": "qwen3_vl_text", "head_dim": HEAD}
    if family != "gemma3":
        return text
    return text | {
        "model_type": "gemma3_text",
        "head_dim": HEAD,
        "query_pre_attn_scalar": HEAD,
        "sliding_window": WINDOW,
        "sliding_window_pattern": 6,
        "rope_local_base_freq": 10000.0,
        "tie_word_embeddings": True,
        "mm_tokens_per_image": num_rows(family),  # mlx-vlm reads it here, transformers one level up
    }


def _siglip(family: str) -> Config:
    facts = TINY_FAMILIES[family]
    return {
        "model_type": "siglip_vision_model",
        "hidden_size": TOWER_WIDTH,
        "intermediate_size": TOWER_FEED_FORWARD,
        "num_hidden_layers": TOWER_LAYERS,
        "num_attention_heads": TOWER_HEADS,
        "image_size": facts.image_size,
        "patch_size": facts.patch_size,
        "layer_norm_eps": facts.layer_norm_eps,
        "num_channels": 3,
    }


def _gemma3(image_id: int) -> Config:
    return {
        "architectures": ["Gemma3ForConditionalGeneration"],
        "mm_tokens_per_image": num_rows("gemma3"),
        "hidden_size": WIDTH,
        "pad_token_id": EOS_ID,
        "image_token_index": image_id,
        "boi_token_index": token_id("<start_of_image>"),
        "eoi_token_index": token_id("<end_of_image>"),
    }


def _qwen(family: str, image_id: int) -> Config:
    return {
        "architectures": [
            {
                "qwen2_vl": "Qwen2VLForConditionalGeneration",
                "qwen2_5_vl": "Qwen2_5_VLForConditionalGeneration",
                "qwen3_vl": "Qwen3VLForConditionalGeneration",
            }[family]
        ],
        "model_type": family,
        "vision_config": _qwen_tower(family),
        "image_token_id": image_id,
        "video_token_id": token_id("<|video_pad|>"),
        "vision_start_token_id": token_id("<|vision_start|>"),
        "vision_end_token_id": token_id("<|vision_end|>"),
    }


def _qwen_tower(family: str) -> Config:
    facts = TINY_FAMILIES[family]
    vision: Config = {
        "model_type": family,
        "depth": TOWER_LAYERS,
        "num_heads": TOWER_HEADS,
        "patch_size": facts.patch_size,
        "spatial_patch_size": facts.patch_size,
        "spatial_merge_size": facts.merge,
        "temporal_patch_size": 2,
        "in_channels": 3,
    }
    if family == "qwen2_vl":
        widths: Config = {
            "embed_dim": TOWER_WIDTH,
            "hidden_size": WIDTH,
            "mlp_ratio": TOWER_FEED_FORWARD // TOWER_WIDTH,
        }
        return vision | widths
    vision |= {"hidden_size": TOWER_WIDTH, "intermediate_size": TOWER_FEED_FORWARD, "out_hidden_size": WIDTH}
    if family == "qwen2_5_vl":
        whole = list(range(LAYERS_A_WINDOW - 1, TOWER_LAYERS, LAYERS_A_WINDOW))
        return vision | {"window_size": WINDOW_PIXELS, "fullatt_block_indexes": whole}
    num_positions = (facts.image_size // facts.patch_size) ** 2
    return vision | {"num_position_embeddings": num_positions, "deepstack_visual_indexes": list(DEEP_LAYERS)}


def num_rows(family: str) -> int:
    """Return the rows of one square."""
    facts = TINY_FAMILIES[family]
    return (facts.image_size // facts.patch_size // facts.merge) ** 2


def preprocessor_config(family: str) -> Config:
    facts = TINY_FAMILIES[family]
    side = facts.image_size
    values: Config = {
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
        "do_rescale": True,
        "do_normalize": True,
        "do_resize": True,
        "rescale_factor": 1 / 255,
    }
    if facts.pixels is not None:
        least, most = facts.pixels
        sizes = {"patch_size": facts.patch_size, "merge_size": facts.merge, "temporal_patch_size": 2}
        return values | sizes | {"min_pixels": least, "max_pixels": most}
    if facts.longest_edge is not None:
        edges = {"size": {"longest_edge": facts.longest_edge}, "max_image_size": {"longest_edge": side}}
        return values | edges | {"do_image_splitting": True}
    processor = {"llava": "SiglipImageProcessor", "gemma3": "Gemma3ImageProcessor"}[family]
    return values | {"image_processor_type": processor, "size": {"height": side, "width": side}}


def processor_config(family: str) -> Config:
    match family:
        case "llava":
            return {
                "processor_class": "LlavaProcessor",
                "patch_size": TINY_FAMILIES[family].patch_size,
                "vision_feature_select_strategy": "full",
                "image_token": "<image>",
            }
        case "idefics3":
            return {"processor_class": "Idefics3Processor", "image_seq_len": num_rows(family)}
        case "gemma3":
            return {"processor_class": "Gemma3Processor", "image_seq_length": num_rows(family)}
        case _:
            return {"processor_class": "Qwen2VLProcessor"}
