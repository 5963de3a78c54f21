"""From a GGUF header to MemoryFacts.

Source: llama.cpp, llama-hparams.cpp, `n_embd_r` and `n_embd_s` (elements of a recurrent state), llama-model.cpp,
`recurrent_layer_arr` (which layers have one).
"""

from registry.facts import MemoryFacts
from registry.gguf.fields import HeaderFields
from registry.gguf.tensors import TensorTypeTotals

_FLOAT_BYTES = 4


def memory_facts(fields: HeaderFields, tensor_types: dict[str, TensorTypeTotals]) -> MemoryFacts:
    """Give what the header says of memory; of a split set, sizes are those of this file.

    Args:
        tensor_types: Type name -> totals, of this file.
    """
    num_layers = max(1, min(fields.arch_integer("block_count") or 1, 1024))
    heads = fields.arch_integers("attention.head_count", num_layers)
    num_recurrent = _num_recurrent_layers(fields, num_layers)
    return MemoryFacts(
        num_heads=max(heads) if heads else None,
        feed_forward_length=_feed_forward(fields, num_layers),
        num_attention_layers=_num_attention_layers(fields, num_layers),
        recurrent_bytes=num_recurrent * _state_elements(fields) * _FLOAT_BYTES,
        type_bytes={name: total.size_bytes for name, total in tensor_types.items() if total.num_matrices},
    )


def _feed_forward(fields: HeaderFields, num_layers: int) -> int | None:
    widths = fields.arch_integers("feed_forward_length", num_layers)
    dense = max(widths) if widths else None
    expert, used = fields.arch_integer("expert_feed_forward_length"), fields.arch_integer("expert_used_count")
    if used:
        sparse = (expert or dense or 0) * used + (fields.arch_integer("expert_shared_feed_forward_length") or 0)
        return max(sparse, dense or 0) or None
    return dense


def _num_attention_layers(fields: HeaderFields, num_layers: int) -> int | None:
    """Count the layers with a KV cache where most have a recurrent state; None where the head counts say it."""
    interval = fields.arch_integer("full_attention_interval")
    return num_layers // interval if interval and _state_elements(fields) else None


def _num_recurrent_layers(fields: HeaderFields, num_layers: int) -> int:
    kv_heads = fields.arch_integers("attention.head_count_kv", num_layers)
    if kv_heads and 0 in kv_heads:
        return kv_heads.count(0)
    attention = _num_attention_layers(fields, num_layers)
    # Without either, every layer has a state: pure recurrent models, and those with both parts in each layer.
    return num_layers - attention if attention is not None else num_layers


def _state_elements(fields: HeaderFields) -> int:
    """Give the elements of one layer's state for one sequence."""
    head = fields.arch_integer("wkv.head_size")
    width = fields.arch_integer("embedding_length") or 0
    if head:
        return (fields.arch_integer("token_shift_count") or 2) * width + width * head
    kernel, inner = fields.arch_integer("ssm.conv_kernel"), fields.arch_integer("ssm.inner_size")
    state = fields.arch_integer("ssm.state_size")
    if not kernel or not inner or not state:
        return 0
    groups = fields.arch_integer("ssm.group_count") or 0
    return (kernel - 1) * (inner + 2 * groups * state) + state * inner
