import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.wire.load import LoadSpec, RankHost
from registry.facts import ArtifactFormat, KVGeometry, MemoryFacts, ModelFacts, ModelKind, Quantization, TokenizerFacts
from router.placement.fit import largest_context, refusal
from router.placement.memory import Machine
from router.placement.memory_need import MemoryNeed, memory_need

PC = Machine(has_metal=False, is_arm=False)
MAC = Machine(has_metal=True, is_arm=True)
GIB = 1 << 30


def facts(
    artifact_format: ArtifactFormat = ArtifactFormat.GGUF,
    *,
    label: str = "Q4_K_M",
    memory: MemoryFacts | None = None,
    kv: KVGeometry | None = None,
) -> ModelFacts:
    return ModelFacts(
        format=artifact_format,
        architecture="llama",
        kind=ModelKind.MODEL,
        parameter_count=8 * 10**9,
        weight_bytes=4 * GIB,
        num_tensors=300,
        quantization=Quantization(label=label, from_file_type=label),
        context_length=131_072,
        embedding_length=4096,
        vocabulary_size=128_256,
        kv=kv or KVGeometry(num_layers=32, num_kv_heads=(8,) * 32, key_length=128, value_length=128),
        memory=memory or MemoryFacts(num_heads=32, feed_forward_length=14_336),
        tokenizer=TokenizerFacts(num_tokens=128_256, num_merges=280_147),
    )


def kv_bytes(model: ModelFacts, machine: Machine = PC, **settings: object) -> int:
    return memory_need(model, LoadSpec(model_path="", **settings), machine).kv_bytes  # type: ignore[arg-type]


def test_a_float16_cache_has_the_textbook_size() -> None:
    """Llama 3.1 8B: 32 layers, 8 KV heads of 128: 1 GiB for 8,192 tokens."""
    assert kv_bytes(facts(), context_length=8192) == GIB


def test_quantized_caches_take_what_their_blocks_take() -> None:
    assert kv_bytes(facts(), context_length=8192, kv_type="q8_0") == GIB * 17 // 32
    assert kv_bytes(facts(), context_length=8192, kv_type="q4_0") == GIB * 9 // 32
    assert kv_bytes(facts(), context_length=8192, kv_type="q8_0/q4_0") == GIB * 13 // 32


def test_quantized_values_have_flash_attention_with_them_and_quantized_keys_need_none() -> None:
    def compute_bytes(kv_type: str) -> int:
        spec = LoadSpec(model_path="", context_length=8192, kv_type=kv_type, flash_attention="off")
        return memory_need(facts(), spec, PC).compute_bytes

    assert compute_bytes("f16/q8_0") == compute_bytes("q8_0")
    assert compute_bytes("q8_0/f16") == compute_bytes("f16") > compute_bytes("q8_0")


def test_float32_weights_have_a_float32_cache_and_scores_for_every_head() -> None:
    need = memory_need(facts(label="F32"), LoadSpec(model_path="", context_length=8192), PC)
    assert need.kv_bytes == 2 * GIB
    assert need.compute_bytes > 8192 * 512 * 4 * 32


def test_the_context_is_lowered_to_the_models_own() -> None:
    need = memory_need(facts(), LoadSpec(model_path="", context_length=1 << 20), PC)
    assert need.context_length == 131_072


def test_more_cells_than_one_context_count() -> None:
    assert kv_bytes(facts(), context_length=4096, kv_cells=16_384) == 2 * GIB


def test_a_cache_that_grows_takes_no_less_but_later() -> None:
    def need(context_length: int, first_cells: int | None) -> MemoryNeed:
        spec = LoadSpec(model_path="", context_length=context_length, first_cells=first_cells)
        return memory_need(facts(), spec, PC)

    whole, growing = need(32_768, None), need(32_768, 8192)
    assert growing.required_bytes == whole.required_bytes
    assert (whole.growing_bytes, growing.growing_bytes) == (0, growing.kv_bytes * 3 // 4)
    assert need(4096, 8192).growing_bytes == 0


def test_layers_without_attention_have_a_state_per_sequence_instead_of_cells() -> None:
    kv = KVGeometry(num_layers=32, num_kv_heads=(8, 0, 0, 0) * 8, key_length=128, value_length=128)
    model = facts(kv=kv, memory=MemoryFacts(num_heads=32, recurrent_bytes=1_000_000))
    assert kv_bytes(model, context_length=8192, max_sequences=3) == GIB // 4 + 3_000_000


def test_one_attention_layer_in_four_has_a_quarter_of_the_cells() -> None:
    assert kv_bytes(facts(memory=MemoryFacts(num_attention_layers=8)), context_length=8192) == GIB // 4


def test_latents_are_kept_once_on_mlx() -> None:
    model = facts(ArtifactFormat.MLX, label="4bit-g64", memory=MemoryFacts(latent_length=576, half_bytes=1))
    assert kv_bytes(model, MAC, context_length=8192 - 256) == 8192 * 576 * 32 * 2


@pytest.mark.parametrize(
    ("machine", "head_length", "share"),
    [(MAC, 128, 0.5625), (PC, 128, 0.28125), (MAC, 96, 0.625), (MAC, 80, 1.0)],
    ids=["16 bits", "32 bits", "smaller groups", "no groups"],
)
def test_kept_caches_in_8_bits_take_that_and_their_scales(machine: Machine, head_length: int, share: float) -> None:
    kv = KVGeometry(num_layers=32, num_kv_heads=(8,) * 32, key_length=head_length, value_length=head_length)
    model = facts(ArtifactFormat.MLX, kv=kv, memory=MemoryFacts(half_bytes=1))
    whole, packed = (
        memory_need(model, LoadSpec(model_path="", context_length=8192, checkpoint_bytes=0, kept_bits=bits), machine)
        for bits in (None, 8)
    )
    assert packed.kept_bytes == whole.kept_bytes * share
    assert packed.required_bytes == whole.required_bytes


def test_a_window_bounds_its_layers_on_mlx_but_not_on_llamacpp() -> None:
    kv = KVGeometry(
        num_layers=32,
        num_kv_heads=(8,) * 32,
        key_length=128,
        value_length=128,
        sliding_window=1024,
        num_windowed_layers=24,
    )
    need = {"context_length": 32_768 - 256, "max_sequences": 1}
    all_cells = 32_768 * 32 * 8 * 256 * 2
    mlx = facts(ArtifactFormat.MLX, kv=kv, memory=MemoryFacts(half_bytes=1))
    assert kv_bytes(mlx, MAC, **need) == all_cells // 4 + 1024 * 24 * 8 * 256 * 2
    assert kv_bytes(facts(kv=kv), context_length=32_768) == all_cells


def test_mlx_on_a_cpu_takes_twice_what_16_bit_weights_take_on_disk() -> None:
    model = facts(ArtifactFormat.MLX, label="BF16", memory=MemoryFacts(half_bytes=4 * GIB))
    assert memory_need(model, LoadSpec(model_path=""), PC).weights_bytes == 8 * GIB
    assert memory_need(model, LoadSpec(model_path=""), MAC).weights_bytes == 4 * GIB
    assert (
        memory_need(model, LoadSpec(model_path=""), PC).kv_bytes
        == 2 * memory_need(model, LoadSpec(model_path=""), MAC).kv_bytes
    )


def test_facts_of_an_older_mlxr_still_give_an_estimate() -> None:
    model = msgspec.structs.replace(facts(ArtifactFormat.MLX, label="BF16"), memory=None)
    assert memory_need(model, LoadSpec(model_path=""), PC).weights_bytes == 8 * GIB
    gguf = msgspec.structs.replace(facts(), memory=None)
    assert memory_need(gguf, LoadSpec(model_path=""), PC).required_bytes > 4 * GIB


def test_repacked_weights_are_counted_once_and_their_pages_are_cold() -> None:
    model = facts(memory=MemoryFacts(type_bytes={"Q4_K": 3 * GIB, "Q6_K": GIB}))
    on_pc, on_mac = (memory_need(model, LoadSpec(model_path=""), machine) for machine in (PC, MAC))
    assert (on_pc.weights_bytes, on_pc.mapped_bytes, on_pc.cold_bytes) == (4 * GIB, GIB, 3 * GIB)
    assert (on_mac.mapped_bytes, on_mac.cold_bytes) == (0, 4 * GIB)
    assert memory_need(model, LoadSpec(model_path="", use_mmap=False), PC).cold_bytes == 0


def test_kept_caches_are_no_reason_to_refuse() -> None:
    need = memory_need(facts(), LoadSpec(model_path=""), PC)
    assert need.kept_bytes > 0
    assert memory_need(facts(), LoadSpec(model_path="", cache_slots=0), PC).kept_bytes == 0
    assert refusal("m", facts(), LoadSpec(model_path=""), PC, available_bytes=need.required_bytes) is None


@pytest.mark.parametrize("artifact_format", ArtifactFormat)
def test_checkpoints_count_as_kept_where_caches_cannot_be_cut(artifact_format: ArtifactFormat) -> None:
    def kept(model: ModelFacts, **settings: int) -> int:
        return memory_need(model, LoadSpec(model_path="", **settings), MAC).kept_bytes  # type: ignore[arg-type]

    plain = facts(artifact_format, memory=MemoryFacts(half_bytes=1))
    states = facts(artifact_format, memory=MemoryFacts(half_bytes=1, recurrent_bytes=50 << 20))
    assert kept(plain, checkpoint_bytes=GIB) == kept(plain, checkpoint_bytes=0)
    assert kept(states, checkpoint_bytes=GIB) == kept(plain) + 2 * GIB, "at ends of answers too"
    assert kept(states, checkpoint_bytes=0) == kept(plain)
    assert kept(states, checkpoint_bytes=GIB, cache_slots=0) == 0
    kv = msgspec.structs.replace(plain.kv, sliding_window=16, num_windowed_layers=16) if plain.kv else None
    windows = facts(artifact_format, kv=kv, memory=MemoryFacts(half_bytes=1))
    a_window = 16 * 16 * 2 * 8 * 128 * 2
    without = kept(windows, checkpoint_bytes=0)
    assert kept(windows, checkpoint_bytes=GIB) == without + 8 * 32 * a_window, "no more than there can be"


def test_what_would_be_unloaded_counts_as_free() -> None:
    need = memory_need(facts(), LoadSpec(model_path=""), PC)
    nearly = need.required_bytes - 1
    assert refusal("m", facts(), LoadSpec(model_path=""), PC, available_bytes=nearly) is not None
    assert refusal("m", facts(), LoadSpec(model_path=""), PC, available_bytes=nearly, reclaimable_bytes=1) is None


@given(free_bytes=st.integers(0, 40 * GIB), kv_type=st.sampled_from(["f16", "q8_0", "q4_0"]))
def test_the_largest_context_fits_and_the_next_larger_does_not(free_bytes: int, kv_type: str) -> None:
    settings = LoadSpec(model_path="", context_length=131_072, kv_type=kv_type)
    found = largest_context(facts(), settings, PC, free_bytes=free_bytes)

    def fits(context_length: int) -> bool:
        trial = msgspec.structs.replace(settings, context_length=context_length)
        return memory_need(facts(), trial, PC).required_bytes <= free_bytes

    assert found is None or fits(found)
    assert found == 131_072 or not fits((found or 0) + 256)


@pytest.mark.parametrize("engine_format", list(ArtifactFormat))
@given(
    contexts=st.tuples(st.integers(1, 131_072), st.integers(1, 131_072)),
    parallels=st.tuples(st.integers(1, 64), st.integers(1, 64)),
)
def test_more_never_takes_less(
    engine_format: ArtifactFormat, contexts: tuple[int, int], parallels: tuple[int, int]
) -> None:
    small, large = (
        memory_need(
            facts(engine_format), LoadSpec(model_path="", context_length=context, max_sequences=parallel), PC
        ).required_bytes
        for context, parallel in zip(sorted(contexts), sorted(parallels), strict=True)
    )
    assert small <= large


def test_a_model_over_hosts_takes_its_share_here_and_the_embeddings_as_a_whole() -> None:
    """8 billion weights in 4 GiB, of which the embeddings and the output are 1.05 billion."""
    model, spec = facts(ArtifactFormat.MLX), LoadSpec(model_path="", context_length=8192)
    whole = memory_need(model, spec, MAC)
    remote = memory_need(model, msgspec.structs.replace(spec, hosts=(RankHost(), RankHost(ssh="mac2"))), MAC)
    embeddings = whole.weights_bytes * 2 * 128_256 * 4096 // (8 * 10**9)
    assert remote.weights_bytes == embeddings + (whole.weights_bytes - embeddings) // 2
    assert remote.kv_bytes == whole.kv_bytes // 2
    assert remote.runtime_bytes == whole.runtime_bytes


def test_ranks_on_this_machine_all_count_here() -> None:
    model, spec = facts(ArtifactFormat.MLX), LoadSpec(model_path="", context_length=8192)
    whole = memory_need(model, spec, MAC)
    both = memory_need(model, msgspec.structs.replace(spec, hosts=(RankHost(), RankHost())), MAC)
    assert both.kv_bytes == whole.kv_bytes
    assert both.weights_bytes > whole.weights_bytes
    assert both.runtime_bytes == 2 * whole.runtime_bytes
