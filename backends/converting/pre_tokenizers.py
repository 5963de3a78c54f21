"""How a BPE vocabulary's text is cut before merging, by the name that a GGUF gives it, for a tokenizer.json.

gguf2mlx knows a few of these names and takes Qwen's cut for all others, so that a model gets other tokens on MLX than
on llama.cpp. Source of the cuts: llama.cpp, src/llama-vocab.cpp, the expressions of each pre-tokenizer type.
"""

import json
from pathlib import Path
from typing import Any, Final

_BYTES: Final = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False}
_GPT2: Final[dict[str, Any]] = {**_BYTES, "use_regex": True}
_DIGITS_THEN_GPT2: Final[dict[str, Any]] = {
    "type": "Sequence",
    "pretokenizers": [{"type": "Digits", "individual_digits": True}, _GPT2],
}
_CUTS: Final = {
    **dict.fromkeys(("gpt-2", "phi-2", "mpt", "olmo", "jais", "roberta-bpe"), _GPT2),
    **dict.fromkeys(("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone"), _DIGITS_THEN_GPT2),
}


def correct_pre_tokenizer(folder: Path, pre: str) -> bool:
    """Give a converted model the cut that its GGUF names.

    Args:
        folder: Has a tokenizer.json.
        pre: `tokenizer.ggml.pre`.

    Returns:
        Whether the file was written anew: the name is known here, and the file had another cut.
    """
    cut = _CUTS.get(pre)
    if cut is None:
        return False
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text("utf-8"))
    if tokenizer.get("pre_tokenizer") == cut and tokenizer.get("normalizer") is None:
        return False
    tokenizer["pre_tokenizer"] = cut
    tokenizer["normalizer"] = None
    path.write_text(json.dumps(tokenizer, ensure_ascii=False), "utf-8")
    return True
