"""Config and target to what a worker is told to load. Pure."""

import hashlib
from pathlib import Path

import msgspec

from backends.wire.messages import LoadSpec
from registry.engines import EngineKind
from router.config import Config
from router.models.load_settings import config_for
from router.models.targets import Target


def load_spec_for(target: Target, config: Config, *, num_cores: int, saved_caches_dir: Path | None = None) -> LoadSpec:
    """Return the load of `target` under `config`.

    Args:
        config: In force; the target's own settings go before it.
        num_cores: Cores for all workers of a model together, >= 1.
        saved_caches_dir: Where caches are saved, if the config wants that.
    """
    config = config_for(config, target.load)
    spec = LoadSpec(
        model_path=target.path,
        context_length=config.generation.context_length,
        max_sequences=config.generation.parallel,
        cache_slots=config.cache.slots,
        background_max_wait_s=config.limits.background_max_wait_s,
        session_ttl_s=config.cache.session_ttl_s,
        chat_template=target.load.template,
        adapter_path=None if target.adapter is None else target.adapter.path,
        adapter_scale=1.0 if target.adapter is None else target.adapter.scale,
    )
    if config.cache.persist and saved_caches_dir is not None:
        spec = msgspec.structs.replace(
            spec,
            saved_caches_dir=str(saved_caches_dir / _key_of(target)),
            saved_caches_max_bytes=config.cache.max_bytes,
        )
    if target.engine.kind is EngineKind.MLX:
        return msgspec.structs.replace(
            spec,
            kv_type=target.load.kv_type,  # for the engine to refuse: the config's is llamacpp's alone
            step_tokens=config.mlx.prefill_step_tokens,
            cache_limit_bytes=config.mlx.cache_limit_bytes,
            wired_limit_bytes=config.mlx.wired_limit_bytes,
        )
    return msgspec.structs.replace(
        spec,
        step_tokens=config.llamacpp.batch_tokens,
        kv_cells=config.llamacpp.kv_cells,
        num_threads=_num_threads(config, num_cores),
        use_mmap=config.llamacpp.mmap,
        flash_attention=config.llamacpp.flash_attention.value,
        kv_type=config.llamacpp.kv_type,
    )


def _key_of(target: Target) -> str:
    """Return a file name that is another one for other weights."""
    text = f"{target.engine}\n{target.path}\n{target.version}"
    if target.adapter is not None:
        text += f"\n{target.adapter.path}\n{target.adapter.version}\n{target.adapter.scale!r}"
    return hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=16).hexdigest()


def _num_threads(config: Config, num_cores: int) -> int | None:
    """Return the threads of each worker; a single one chooses them itself."""
    num_workers = config.generation.workers
    if config.llamacpp.threads is not None or num_workers == 1:
        return config.llamacpp.threads
    return max(1, num_cores // num_workers)
