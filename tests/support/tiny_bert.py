"""A random BERT (2 layers, 32 wide, float32, WordPiece vocabulary, under 100 kB) as a GGUF file: an embedding model."""

from pathlib import Path
from typing import Any

import numpy as np

NUM_LAYERS = 2
WIDTH = 32
NUM_HEADS = 4
FEED_FORWARD = 64
CONTEXT_LENGTH = 64
PAD_ID, UNK_ID, CLS_ID, SEP_ID, MASK_ID = range(5)
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDS = ("the", "quick", "brown", "fox", "jump", "over", "lazy", "dog", ",", ".", "a", "b", "c")
CONTINUATIONS = ("s", "ed", "ing", "er", "a", "b", "c")

Tensor = np.ndarray[Any, np.dtype[np.float32]]


def vocabulary() -> list[str]:
    """Return the tokens as llama.cpp stores WordPiece: word starts are marked, continuations are bare.

    Source: llama.cpp, convert_hf_to_gguf.py, BertModel.set_vocab.
    """
    return [*SPECIAL_TOKENS, *("\u2581" + word for word in WORDS), *CONTINUATIONS]


def weights(seed: int = 0) -> dict[str, Tensor]:
    """Return the tensors under their GGUF names, in numpy's shape order."""
    rng = np.random.default_rng(seed)

    def random(*shape: int, scale: float = 0.3) -> Tensor:
        return (rng.standard_normal(shape) * scale).astype(np.float32)

    tensors = {
        "token_embd.weight": random(len(vocabulary()), WIDTH, scale=1.0),
        "position_embd.weight": random(CONTEXT_LENGTH, WIDTH),
        "token_types.weight": random(2, WIDTH),
        "token_embd_norm.weight": np.ones(WIDTH, np.float32),
        "token_embd_norm.bias": random(WIDTH),
    }
    shapes = {
        "attn_q": (WIDTH, WIDTH),
        "attn_k": (WIDTH, WIDTH),
        "attn_v": (WIDTH, WIDTH),
        "attn_output": (WIDTH, WIDTH),
        "ffn_up": (FEED_FORWARD, WIDTH),
        "ffn_down": (WIDTH, FEED_FORWARD),
    }
    for layer in range(NUM_LAYERS):
        for name, shape in shapes.items():
            tensors[f"blk.{layer}.{name}.weight"] = random(*shape)
            tensors[f"blk.{layer}.{name}.bias"] = random(shape[0])
        for name in ("attn_output_norm", "layer_output_norm"):
            tensors[f"blk.{layer}.{name}.weight"] = np.ones(WIDTH, np.float32)
            tensors[f"blk.{layer}.{name}.bias"] = random(WIDTH)
    return tensors


def rank_head(seed: int = 0) -> dict[str, Tensor]:
    """Return the tensors that make a score of what was pooled."""
    rng = np.random.default_rng((seed, 1))
    shapes: dict[str, tuple[int, ...]] = {"cls": (WIDTH, WIDTH), "cls.output": (1, WIDTH)}
    tensors = {f"{name}.weight": rng.standard_normal(shape) * 0.3 for name, shape in shapes.items()}
    tensors |= {f"{name}.bias": rng.standard_normal(shape[0]) for name, shape in shapes.items()}
    return {name: tensor.astype(np.float32) for name, tensor in tensors.items()}


def write_gguf(path: Path, *, pooling: str | None = "MEAN", seed: int = 0, template: str | None = None) -> Path:
    """Write the model; one of RANK pooling with what makes scores.

    Args:
        path: Of the file.
        pooling: Name in gguf's PoolingType; None = the file does not say.
        seed: Of the weights.
        template: For ranking; None = it has none.
    """
    import gguf

    writer = gguf.GGUFWriter(str(path), "bert")
    writer.add_name("tiny-bert")
    writer.add_context_length(CONTEXT_LENGTH)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(NUM_LAYERS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(NUM_HEADS)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(False)
    writer.add_file_type(0)
    if pooling is not None:
        writer.add_pooling_type(gguf.PoolingType[pooling])
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("jina-v2-en")
    writer.add_token_list(vocabulary())
    writer.add_token_types([3] * len(SPECIAL_TOKENS) + [1] * (len(vocabulary()) - len(SPECIAL_TOKENS)))
    writer.add_token_type_count(2)
    writer.add_pad_token_id(PAD_ID)
    writer.add_unk_token_id(UNK_ID)
    writer.add_bos_token_id(CLS_ID)
    writer.add_sep_token_id(SEP_ID)
    writer.add_mask_token_id(MASK_ID)
    if template is not None:
        writer.add_chat_template([{"name": "rerank", "template": template}])
    for name, tensor in (weights(seed) | (rank_head(seed) if pooling == "RANK" else {})).items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
