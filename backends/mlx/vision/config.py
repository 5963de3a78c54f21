"""A config.json as mlx-vlm's code reads it: values that published files have in another place, or under another name.

Pure. Source: mlx-vlm 0.7.10, models/*/config.py; mlx-lm 0.32.2, models/gemma3_text.py; files that transformers writes.
"""

from typing import Any

Config = dict[str, Any]


def as_mlx_vlm_reads(config: Config) -> Config:
    """Return a config.json with what is missed in it where it is looked for."""
    text = config.get("text_config")
    if not isinstance(text, dict):
        return config
    kind = config.get("model_type")
    if kind != "gemma4":  # whose code knows `rope_parameters`
        text = _with_old_rope(text)
    if kind == "gemma3":
        return config | {"hidden_size": text.get("hidden_size"), "text_config": _gemma3(text)}
    if kind in ("qwen2_vl", "qwen2_5_vl"):
        return text | config | {"text_config": text}  # where all values of the texts are taken from
    return config | {"text_config": text}


def _gemma3(text: Config) -> Config:
    """Name the frequency of layers without a window; rows are scaled by `hidden_size`, else assumed to be 2048."""
    return text | ({"rope_global_base_freq": text["rope_theta"]} if "rope_theta" in text else {})


def _with_old_rope(text: Config) -> Config:
    """Return `rope_theta` and `rope_scaling` beside transformers 5's `rope_parameters`, if these are all there is."""
    parameters = text.get("rope_parameters")
    if not isinstance(parameters, dict) or "rope_theta" in text:
        return text
    found: Config = {}
    whole = parameters.get("full_attention", parameters)
    if "rope_theta" in whole:
        found["rope_theta"] = whole["rope_theta"]
    kind = whole.get("rope_type", "default")
    if kind != "default" or "mrope_section" in whole:
        found["rope_scaling"] = {key: value for key, value in whole.items() if key != "rope_theta"} | {"type": kind}
    if "sliding_attention" in parameters:
        found["rope_local_base_freq"] = parameters["sliding_attention"].get("rope_theta")
    return text | found
