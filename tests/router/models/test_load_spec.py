from pathlib import Path

import msgspec
import pytest

from backends.wire.load import LoadSpec, RankHost
from backends.wire.request import SpeculationMode
from registry.catalogue import Adapter
from registry.engines import LOCAL_ENGINES, Engine, EngineKind
from registry.facts import AdapterFacts, ArtifactFormat
from registry.settings import LoadSettings
from router.config import CacheConfig, Config, GenerationConfig, LimitsConfig, LlamaCppConfig, MLXConfig
from router.config.load import parse_config
from router.models.draft import DraftSource
from router.models.load_spec import load_spec, load_spec_for
from router.models.targets import LocalArtifact, Target
from tests.router.models.test_vision import SOURCE

FOX = Adapter(
    id=1,
    model_name="m",
    name="fox",
    format=ArtifactFormat.MLX,
    path="/fox",
    files=("/fox/adapters.safetensors",),
    size_bytes=8,
    mtime_ns=1,
    scale=0.5,
    facts=AdapterFacts(
        format=ArtifactFormat.MLX,
        method="lora",
        architecture=None,
        rank=1,
        scale=1.0,
        num_tensors=2,
        num_weights=2,
        weight_bytes=8,
    ),
)
SMALL = DraftSource(name="small", artifact_id=2, path="/small.gguf", version="v1", context_length=1000)
CONFIG = Config(
    generation=GenerationConfig(context_length=1234, parallel=3),
    llamacpp=LlamaCppConfig(threads=5, batch_tokens=77, kv_cells=999, mmap=False, kv_type="q8_0", speculation="lookup"),
    limits=LimitsConfig(background_max_wait_s=44.0, check_memory=False),
    cache=CacheConfig(slots=9, session_ttl_s=33.0, checkpoint_bytes=88),
    mlx=MLXConfig(
        prefill_step_tokens=66,
        cache_limit_bytes=11,
        memory_limit_bytes=3 << 20,
        wired_limit_bytes=22,
        kept_cache_bits=8,
        speculation="auto",
    ),
)


def test_llamacpp_gets_its_own_settings_and_none_of_mlx() -> None:
    assert load_spec_for(
        Target("m", Engine(EngineKind.LLAMACPP), LocalArtifact(1, "/m.gguf")), CONFIG, num_cores=6
    ) == LoadSpec(
        model_path="/m.gguf",
        context_length=1234,
        max_sequences=3,
        cache_slots=9,
        background_max_wait_s=44.0,
        session_ttl_s=33.0,
        checkpoint_bytes=88,
        step_tokens=77,
        kv_cells=999,
        first_cells=2048,
        checks_memory=False,
        num_threads=5,
        use_mmap=False,
        flash_attention="auto",
        kv_type="q8_0",
        speculation=SpeculationMode.LOOKUP,
    )


def test_mlx_gets_its_own_settings_and_none_of_llamacpp() -> None:
    assert load_spec_for(Target("m", Engine(EngineKind.MLX), LocalArtifact(1, "/m")), CONFIG, num_cores=6) == LoadSpec(
        model_path="/m",
        context_length=1234,
        max_sequences=3,
        cache_slots=9,
        background_max_wait_s=44.0,
        session_ttl_s=33.0,
        checkpoint_bytes=88,
        step_tokens=66,
        cache_limit_bytes=11,
        memory_limit_bytes=3 << 20,
        wired_limit_bytes=22,
        kept_bits=8,
        speculation=SpeculationMode.AUTO,
    )


@pytest.mark.parametrize(
    ("num_workers", "threads", "most"), [(1, None, None), (2, None, 3), (4, None, 1), (9, None, 1), (2, 5, None)]
)
def test_the_workers_of_a_model_share_the_cores_unless_the_threads_are_set(
    num_workers: int, threads: int | None, most: int | None
) -> None:
    config = Config(generation=GenerationConfig(workers=num_workers), llamacpp=LlamaCppConfig(threads=threads))
    target = Target("m", Engine(EngineKind.LLAMACPP), LocalArtifact(1, "/m.gguf"))
    spec = load_spec_for(target, config, num_cores=6)
    assert (spec.num_threads, spec.max_threads) == (threads, most)


@pytest.mark.parametrize(("num_workers", "most"), [(1, None), (2, 3)])
def test_all_threads_are_held_at_a_workers_share(num_workers: int, most: int | None) -> None:
    config = Config(generation=GenerationConfig(workers=num_workers), llamacpp=LlamaCppConfig(threads="all"))
    target = Target("m", Engine(EngineKind.LLAMACPP), LocalArtifact(1, "/m.gguf"))
    spec = load_spec_for(target, config, num_cores=6)
    assert (spec.num_threads, spec.max_threads, spec.holds_threads) == (None, most, True)


def test_where_several_models_may_be_loaded_all_threads_are_shared_with_them_unless_the_target_says_all() -> None:
    config = Config(residency="budget", llamacpp=LlamaCppConfig(threads="all"))
    target = Target("m", Engine(EngineKind.LLAMACPP), LocalArtifact(1, "/m.gguf"))
    assert not load_spec_for(target, config, num_cores=6).holds_threads
    own = msgspec.structs.replace(target, load=LoadSettings(threads="all"))
    assert load_spec_for(own, config, num_cores=6).holds_threads
    number = Config(residency="budget", llamacpp=LlamaCppConfig(threads=3))
    assert load_spec_for(target, number, num_cores=6).num_threads == 3


def test_every_field_of_a_load_is_set_by_one_engine_or_both() -> None:
    default = LoadSpec(model_path="")
    changed = set()
    for engine in map(Engine, LOCAL_ENGINES):
        config = msgspec.structs.replace(
            CONFIG, cache=msgspec.structs.replace(CONFIG.cache, persist=True, max_bytes=1000)
        )
        source = LocalArtifact(1, "/m", vision=SOURCE)
        load = LoadSettings(template="{{ 1 }}", draft="small", backend="jaccl")
        target = Target("m", engine, source, load, FOX, SMALL)
        spec = load_spec_for(target, config, num_cores=6, saved_caches_dir=Path("/caches"))
        changed |= {name for name in LoadSpec.__struct_fields__ if getattr(spec, name) != getattr(default, name)}
    # One of several workers, whose threads nobody has set; nor has it hosts, with which no caches are saved.
    changed |= {"flash_attention", "max_threads", "holds_threads", "hosts"}
    assert changed == set(msgspec.structs.asdict(default))


def test_hosts_are_told_as_ranks_without_saved_caches() -> None:
    load = LoadSettings(hosts=("local=10.0.0.1", "mac2=10.0.0.2/rdma_en2:-"))
    target = Target("m", Engine(EngineKind.MLX), LocalArtifact(1, "/m"), load)
    spec = load_spec_for(target, CONFIG, num_cores=6, saved_caches_dir=Path("/caches"))
    assert spec.hosts == (
        RankHost(address="10.0.0.1"),
        RankHost(ssh="mac2", address="10.0.0.2", devices=("rdma_en2", None)),
    )
    assert (spec.saved_caches_dir, spec.slot_files_dir) == (None, None)


def test_one_host_alone_is_no_group() -> None:
    """So that one model can be kept from the config's hosts."""
    config = Config(mlx=MLXConfig(hosts=("local", "local")))
    target = Target("m", Engine(EngineKind.MLX), LocalArtifact(1, "/m"), LoadSettings(hosts=("local",)))
    assert load_spec_for(target, config, num_cores=6).hosts == ()
    assert len(load_spec("/m", EngineKind.MLX, config).hosts) == 2


def test_caches_are_saved_by_content_and_only_when_wanted() -> None:
    config = msgspec.structs.replace(CONFIG, cache=CacheConfig(persist=True, max_bytes=1000))

    def folder(target: Target, config: Config = config) -> str | None:
        return load_spec_for(target, config, num_cores=2, saved_caches_dir=Path("/caches")).saved_caches_dir

    target = Target("m", Engine(EngineKind.MLX), LocalArtifact(1, "/m", "v1"))
    found = {
        folder(other)
        for other in (
            target,
            Target("m", Engine(EngineKind.MLX), LocalArtifact(1, "/m", "v2")),
            Target("m", Engine(EngineKind.LLAMACPP), LocalArtifact(1, "/m", "v1")),
        )
    }
    assert len(found) == 3
    fox = Target("m", Engine(EngineKind.MLX), LocalArtifact(1, "/m", "v1"), adapter=FOX)
    others = [msgspec.structs.replace(FOX, **change) for change in ({"mtime_ns": 2}, {"scale": 1.0}, {"path": "/owl"})]
    found |= {folder(fox), *(folder(msgspec.structs.replace(fox, adapter=other)) for other in others)}
    assert len(found) == 7, "a cache of the base is never one of an adapter, nor of another adapter"
    assert all(path is not None and Path(path).parent == Path("/caches") for path in found)
    assert folder(Target("alias", Engine(EngineKind.MLX), LocalArtifact(7, "/m", "v1"))) == folder(target)
    never = msgspec.structs.replace(CONFIG, cache=CacheConfig(persist=False))
    assert folder(target, never) is None


def test_a_models_own_settings_go_before_the_config() -> None:
    load = LoadSettings(context_length=4321, parallel=2, workers=3, kv_type="q4_0")
    config = Config(generation=GenerationConfig(context_length=1234, parallel=3))
    spec = load_spec_for(
        Target("m", Engine(EngineKind.LLAMACPP), LocalArtifact(1, "/m.gguf"), load=load), config, num_cores=6
    )
    assert (spec.context_length, spec.max_sequences, spec.max_threads, spec.kv_type) == (4321, 2, 2, "q4_0")


def test_the_type_of_the_cache_in_the_config_is_llamacpps_alone() -> None:
    assert (
        load_spec_for(Target("m", Engine(EngineKind.MLX), LocalArtifact(1, "/m")), CONFIG, num_cores=6).kv_type is None
    )


def test_types_of_keys_and_values_may_be_said_apart_or_in_one_word() -> None:
    for said in ("{k: q8_0, v: q4_0}", "q8_0/q4_0"):
        config = parse_config(f"llamacpp: {{kv_type: {said}}}", source="server.yaml")
        assert load_spec("/m.gguf", EngineKind.LLAMACPP, config).kv_type == "q8_0/q4_0"
