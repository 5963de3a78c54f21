"""Config and target to what a worker is told to load. Pure."""

import msgspec

from backends.messages import LoadSpec
from router.config import Config
from router.targets import Target


def load_spec_for(target: Target, config: Config) -> LoadSpec:
    """Return the load of `target` under `config`."""
    spec = LoadSpec(
        model_path=target.path,
        context_length=config.generation.context_length,
        max_sequences=config.generation.parallel,
    )
    if target.engine == "mlx":
        return msgspec.structs.replace(
            spec,
            step_tokens=config.mlx.prefill_step_tokens,
            cache_limit_bytes=config.mlx.cache_limit_bytes,
            wired_limit_bytes=config.mlx.wired_limit_bytes,
        )
    return msgspec.structs.replace(
        spec,
        step_tokens=config.llamacpp.batch_tokens,
        kv_cells=config.llamacpp.kv_cells,
        num_threads=config.llamacpp.threads,
        use_mmap=config.llamacpp.mmap,
        flash_attention=config.llamacpp.flash_attention.value,
    )
