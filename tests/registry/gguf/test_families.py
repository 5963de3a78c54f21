"""Headers of many families, written by gguf-py: every fact that we read is what gguf-py reads."""

import random
from pathlib import Path
from typing import Any

import gguf
import msgspec
import numpy as np
import pytest

from registry.facts import ChatTemplateFacts, ModelFacts, ModelKind, Provenance
from registry.gguf import read_header
from registry.gguf.facts import facts_from_header

NUM_LAYERS = 3
WIDTH = 960

FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {"heads": 32, "kv": 8, "tokenizer": "gpt2", "pre": "llama-bpe"},
    "mistral3": {"heads": 32, "kv": 8, "key": 128, "value": 128, "tokenizer": "gpt2", "pre": "tekken"},
    "qwen2": {"heads": 14, "kv": 2, "tokenizer": "gpt2", "pre": "qwen2"},
    "qwen3": {"heads": 16, "kv": 8, "key": 128, "value": 128, "tokenizer": "gpt2", "pre": "qwen2"},
    "qwen3moe": {"heads": 32, "kv": 4, "key": 128, "value": 128, "experts": (128, 8), "tokenizer": "gpt2"},
    "gemma3": {"heads": 8, "kv": 4, "key": 256, "value": 256, "window": 1024, "tokenizer": "llama"},
    "phi3": {"heads": 32, "kv": 32, "window": 2047, "rope": ("longrope", 4096), "tokenizer": "llama"},
    "gpt2": {"heads": 12, "tokenizer": "gpt2", "pre": "gpt-2"},
    "gpt-oss": {
        "heads": 64,
        "kv": 8,
        "key": 64,
        "value": 64,
        "window": 128,
        "experts": (32, 4),
        "rope": ("yarn", 4096),
    },
    "deepseek2": {"heads": 16, "kv": 1, "key": 576, "value": 512, "experts": (64, 6), "tokenizer": "gpt2"},
    "glm4": {"heads": 48, "kv": 2, "tokenizer": "gpt2", "pre": "glm4"},
    "olmo2": {"heads": 32, "kv": 32, "tokenizer": "gpt2", "pre": "olmo"},
    "smollm3": {"heads": 16, "kv": 4, "tokenizer": "gpt2", "pre": "smaug-bpe"},
    "falcon": {"heads": 71, "kv": 1, "tokenizer": "gpt2", "pre": "falcon"},
    "bert": {"heads": 12, "pooling": 2, "tokenizer": "bert"},
    "nomic-bert": {"heads": 12, "pooling": 1, "tokenizer": "bert"},
    "command-r": {"heads": 64, "kv": 8, "tokenizer": "gpt2", "pre": "command-r"},
    "starcoder2": {"heads": 24, "kv": 2, "window": 4096, "tokenizer": "gpt2", "pre": "starcoder"},
    "openelm": {"heads": [12, 16, 20], "kv": [3, 4, 5], "key": 64, "value": 64, "tokenizer": "llama"},
    "granite": {"heads": 32, "kv": 8, "tokenizer": "gpt2", "pre": "refact"},
    "mamba": {"heads": 0, "tokenizer": "gpt2", "pre": "olmo"},
    "rwkv6": {"heads": 0, "tokenizer": "rwkv"},
}


class Family:
    """What is written for one family, drawn from its own seed.

    Args:
        architecture: A key of FAMILIES.
    """

    def __init__(self, architecture: str) -> None:
        self.architecture = architecture
        self.shape = FAMILIES[architecture]
        rng = random.Random(architecture)
        self.context_length = rng.choice([2048, 8192, 131_072])
        self.num_tokens = rng.randrange(300, 900)
        self.num_merges = rng.randrange(1, 500)
        self.bos, self.eos, self.eot, self.unk, self.pad = rng.sample(range(self.num_tokens), 5)
        self.file_type = rng.choice([0, 1, 2, 7, 15, 17, 18, 32])
        self.has_bos = rng.random() < 0.5
        letters = "abcäßé中日😀 ▁Ġ"
        self.tokens = [
            f"{''.join(rng.choices(letters, k=rng.randrange(9)))}{index}" for index in range(self.num_tokens)
        ]
        self.template = f"{{% for m in messages %}}{{{{ m.content }}}}{{% endfor %}}{{{{ tools }}}}{rng.random()}"

    def write(self, path: Path, *, has_weights: bool) -> None:
        writer = gguf.GGUFWriter(path, self.architecture)
        writer.add_type("model")
        writer.add_name(f"A {self.architecture}")
        writer.add_basename("Base")
        writer.add_organization("Some Org")
        writer.add_size_label("7B")
        writer.add_finetune("Instruct")
        writer.add_version("v2")
        writer.add_license("mit")
        self._write_shape(writer)
        self._write_tokenizer(writer)
        if has_weights:
            writer.add_file_type(self.file_type)
            writer.add_tensor("token_embd.weight", np.zeros((100, WIDTH), dtype=np.float32))
            writer.add_tensor("blk.0.attn_q.weight", np.zeros((96, 96), dtype=np.float16))
            writer.add_tensor("output_norm.weight", np.zeros(WIDTH, dtype=np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()

    def _write_shape(self, writer: gguf.GGUFWriter) -> None:
        shape = self.shape
        writer.add_block_count(NUM_LAYERS)
        writer.add_context_length(self.context_length)
        writer.add_embedding_length(WIDTH)
        if shape["heads"]:
            writer.add_head_count(shape["heads"])
        for key, method in (
            ("kv", writer.add_head_count_kv),
            ("key", writer.add_key_length),
            ("value", writer.add_value_length),
            ("window", writer.add_sliding_window),
        ):
            if key in shape:
                method(shape[key])
        if "experts" in shape:
            writer.add_expert_count(shape["experts"][0])
            writer.add_expert_used_count(shape["experts"][1])
        if "pooling" in shape:
            writer.add_pooling_type(gguf.PoolingType(shape["pooling"]))
        if "rope" in shape:
            writer.add_rope_scaling_type(gguf.RopeScalingType(shape["rope"][0]))
            writer.add_rope_scaling_orig_ctx_len(shape["rope"][1])

    def _write_tokenizer(self, writer: gguf.GGUFWriter) -> None:
        writer.add_tokenizer_model(self.shape.get("tokenizer", "gpt2"))
        if "pre" in self.shape:
            writer.add_tokenizer_pre(self.shape["pre"])
        writer.add_token_list(self.tokens)
        writer.add_token_types([1] * self.num_tokens)
        writer.add_token_scores([0.5] * self.num_tokens)
        writer.add_token_merges([f"a b{index}" for index in range(self.num_merges)])
        writer.add_bos_token_id(self.bos)
        writer.add_eos_token_id(self.eos)
        writer.add_eot_token_id(self.eot)
        writer.add_unk_token_id(self.unk)
        writer.add_pad_token_id(self.pad)
        writer.add_add_bos_token(self.has_bos)
        writer.add_chat_template(self.template)


class Oracle:
    """What gguf-py reads of a file.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.reader = gguf.GGUFReader(path)
        self.architecture = self.get("general.architecture")

    def get(self, key: str) -> Any:
        field = self.reader.fields.get(key)
        return None if field is None else field.contents()

    def of_architecture(self, key: str) -> Any:
        return self.get(f"{self.architecture}.{key}")

    def tokenizer(self, key: str) -> Any:
        return self.get(f"tokenizer.ggml.{key}")


def check_facts(facts: ModelFacts, oracle: Oracle) -> None:
    assert facts.architecture == oracle.architecture
    assert facts.context_length == oracle.of_architecture("context_length")
    assert facts.embedding_length == oracle.of_architecture("embedding_length") == WIDTH
    assert facts.parameter_count == sum(int(tensor.n_elements) for tensor in oracle.reader.tensors)
    assert facts.weight_bytes >= sum(int(tensor.n_bytes) for tensor in oracle.reader.tensors)
    assert facts.num_tensors == len(oracle.reader.tensors)
    assert facts.num_experts == oracle.of_architecture("expert_count")
    assert facts.num_experts_used == oracle.of_architecture("expert_used_count")
    assert facts.rope_scaling_type == oracle.of_architecture("rope.scaling.type")
    assert facts.vocabulary_size == len(oracle.tokenizer("tokens"))
    names = {0: "none", 1: "mean", 2: "cls", 3: "last", 4: "rank"}
    assert facts.pooling_type == names.get(oracle.of_architecture("pooling_type"))
    assert facts.chat_template == ChatTemplateFacts.from_text(oracle.get("tokenizer.chat_template"))
    assert facts.chat_template is not None
    assert facts.chat_template.has_tools
    fields = {name: oracle.get(f"general.{name}") for name in Provenance.__struct_fields__}
    assert facts.provenance == Provenance(**fields)


def check_cache(facts: ModelFacts, oracle: Oracle) -> None:
    heads = oracle.of_architecture("attention.head_count")
    if heads is None:
        assert facts.kv is None
        return
    kv_heads = oracle.of_architecture("attention.head_count_kv") or heads
    assert facts.kv is not None
    assert facts.kv.num_layers == oracle.of_architecture("block_count")
    assert facts.kv.num_kv_heads == (tuple(kv_heads) if isinstance(kv_heads, list) else (kv_heads,) * NUM_LAYERS)
    default = None if isinstance(heads, list) else WIDTH // heads
    assert facts.kv.key_length == (oracle.of_architecture("attention.key_length") or default)
    assert facts.kv.value_length == (oracle.of_architecture("attention.value_length") or default)
    assert facts.kv.sliding_window == oracle.of_architecture("attention.sliding_window")


def check_tokenizer(facts: ModelFacts, oracle: Oracle) -> None:
    tokenizer = facts.tokenizer
    assert tokenizer is not None
    assert tokenizer.model == oracle.tokenizer("model")
    assert tokenizer.pre == oracle.tokenizer("pre")
    assert tokenizer.num_tokens == len(oracle.tokenizer("tokens"))
    assert tokenizer.num_merges == len(oracle.tokenizer("merges"))
    assert tokenizer.bos_token_id == oracle.tokenizer("bos_token_id")
    assert tokenizer.eos_token_ids == (oracle.tokenizer("eos_token_id"), oracle.tokenizer("eot_token_id"))
    assert tokenizer.unknown_token_id == oracle.tokenizer("unknown_token_id")
    assert tokenizer.padding_token_id == oracle.tokenizer("padding_token_id")
    assert tokenizer.has_bos_prefix == oracle.tokenizer("add_bos_token")


@pytest.mark.parametrize("has_weights", [False, True], ids=["vocabulary", "model"])
@pytest.mark.parametrize("architecture", FAMILIES)
def test_every_fact_is_what_gguf_py_reads(tmp_path: Path, architecture: str, *, has_weights: bool) -> None:
    path = tmp_path / "m.gguf"
    Family(architecture).write(path, has_weights=has_weights)
    facts, oracle = facts_from_header(read_header(path)), Oracle(path)
    check_facts(facts, oracle)
    check_cache(facts, oracle)
    check_tokenizer(facts, oracle)
    assert msgspec.json.decode(msgspec.json.encode(facts), type=ModelFacts) == facts
    if not has_weights:
        assert facts.kind is ModelKind.VOCAB_ONLY
        assert facts.quantization is None
        return
    assert facts.kind is (ModelKind.EMBEDDING if "pooling" in FAMILIES[architecture] else ModelKind.MODEL)
    assert facts.loadable, facts.reasons
    assert facts.quantization is not None
    said = gguf.LlamaFileType(oracle.get("general.file_type")).name.removeprefix("MOSTLY_").removeprefix("ALL_")
    assert facts.quantization.from_file_type == said
