"""Config, artifact and settings to what a worker is told to load. Pure."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from backends.wire.load import DraftSpec, LoadSpec, RankHost
from backends.wire.request import SpeculationMode
from registry.catalogue import Artifact
from registry.engines import EngineKind
from registry.hosts import LOOPBACK, host_of
from registry.settings import LoadSettings
from router.config import Config
from router.config.schema import KVTypePair
from router.models.draft import draft_spec
from router.models.load_settings import AS_CONFIGURED, settings_in_force
from router.models.targets import Target
from router.models.vision import VisionSource, vision_source, vision_spec

UNPLANNED_CONTEXT: Final = 8192
"""Tokens, where nobody says how many, and nothing is known of the model's memory."""

FIRST_CELLS: Final = 2048
"""Of a cache that grows: made in a moment, and enough for a short prompt and its answer."""

_WORKERS_NAMES: Final = {"parallel": "max_sequences", "threads": "num_threads", "template": "chat_template"}
"""Settings that a worker knows by other names than users."""


def load_spec_of(artifact: Artifact, config: Config, load: LoadSettings = AS_CONFIGURED) -> LoadSpec:
    """Return how its engine loads an artifact by itself; as `load_spec`."""
    return load_spec(artifact.path, artifact.engine, config, load, vision_source(artifact))


def load_spec(
    model_path: str,
    engine: EngineKind,
    config: Config,
    load: LoadSettings = AS_CONFIGURED,
    vision: VisionSource | None = None,
) -> LoadSpec:
    """Return how an engine loads an artifact by itself, without an adapter and without saved caches.

    Where nobody says how long the context is, it is UNPLANNED_CONTEXT; `router.placement.context` knows better.

    Args:
        load: What is otherwise than the config says.
        vision: What it could see with.
    """
    settings = {
        _WORKERS_NAMES.get(name, name): value for name, value in settings_in_force(config, engine, load).items()
    }
    del settings["workers"]  # each is told of itself alone
    mode = settings.pop("vision")
    draft = settings.pop("draft", None)
    if settings.pop("kv_cache", None) == "grow":
        settings["first_cells"] = FIRST_CELLS
    if config.cache.checkpoint_bytes is not None:
        settings["checkpoint_bytes"] = config.cache.checkpoint_bytes
    if "speculation" in settings:
        settings["speculation"] = SpeculationMode(settings["speculation"])
    if isinstance(settings.get("num_threads"), str):
        settings["holds_threads"] = settings.pop("num_threads") == "all"
    if isinstance(settings.get("kv_type"), KVTypePair):
        settings["kv_type"] = settings["kv_type"].word
    if "hosts" in settings:
        settings["hosts"] = rank_hosts(settings["hosts"] or ())
    settings["context_length"] = settings["context_length"] or UNPLANNED_CONTEXT
    return LoadSpec(
        vision=vision_spec(vision, mode),
        draft=None if draft is None else DraftSpec(name=draft, why_not="only a load of the model itself finds it"),
        model_path=model_path,
        cache_slots=config.cache.slots,
        background_max_wait_s=config.limits.background_max_wait_s,
        session_ttl_s=config.cache.session_ttl_s,
        **settings,
        **_of_engine(config, engine),
    )


def load_spec_for(
    target: Target,
    config: Config,
    *,
    num_cores: int,
    context_length: int | None = None,
    why_no_draft: str | None = None,
    saved_caches_dir: Path | None = None,
) -> LoadSpec:
    """Return the load of `target` under `config`.

    Args:
        config: In force; the target's own settings go before it.
        num_cores: Cores for all workers of a model together, >= 1.
        context_length: Tokens, as they were planned; None = as `load_spec` has it.
        why_no_draft: Why what drafts for it is not to be loaded now; None = it is.
        saved_caches_dir: Where caches are saved, if the config wants that; beside it lie those that clients save.
    """
    spec = load_spec(target.local.path, target.engine.kind, config, target.load, target.local.vision)
    if context_length is not None:
        spec = replace(spec, context_length=context_length)
    if target.draft is not None:
        spec = replace(spec, draft=draft_spec(target.draft, spec, why_no_draft))
    num_workers = target.load.workers or config.generation.workers
    if target.engine.kind is EngineKind.LLAMACPP and spec.num_threads is None and num_workers > 1:
        spec = replace(spec, max_threads=max(1, num_cores // num_workers))
    if config.residency != "exclusive" and target.load.threads is None:
        spec = replace(spec, holds_threads=False)  # the cores are shared with others that are loaded, as they answer
    if target.adapter is not None:
        spec = replace(spec, adapter_path=target.adapter.path, adapter_scale=target.adapter.scale)
    if saved_caches_dir is not None and not spec.hosts:  # a rank has a share of each cache only
        key = _key_of(target)
        spec = replace(spec, slot_files_dir=str(saved_caches_dir.with_name("slots") / key))
        if config.cache.persist:
            spec = replace(
                spec,
                saved_caches_dir=str(saved_caches_dir / key),
                saved_caches_max_bytes=config.cache.max_bytes,
                saves_all_caches=config.cache.persist is True,
            )
    return spec


def rank_hosts(words: Sequence[str]) -> tuple[RankHost, ...]:
    """Return where the ranks of a model run; () = the worker has all of it.

    Args:
        words: As the setting has them.
    """
    if len(words) < 2:  # noqa: PLR2004 - one is no group
        return ()
    hosts = [host_of(word) for word in words]
    return tuple(RankHost(ssh=host.ssh, address=host.address or LOOPBACK, devices=host.devices) for host in hosts)


def _of_engine(config: Config, engine: EngineKind) -> dict[str, Any]:
    """Return what only the config says of an engine's loads, for all models alike."""
    match engine:
        case EngineKind.MLX:
            return {
                "step_tokens": config.mlx.prefill_step_tokens,
                "cache_limit_bytes": config.mlx.cache_limit_bytes,
                "memory_limit_bytes": config.mlx.memory_limit_bytes,
                "wired_limit_bytes": config.mlx.wired_limit_bytes,
                "kept_bits": config.mlx.kept_cache_bits,
            }
        case EngineKind.LLAMACPP:
            return {
                "step_tokens": config.llamacpp.batch_tokens,
                "kv_cells": config.llamacpp.kv_cells,
                "checks_memory": config.limits.check_memory,
                "use_mmap": config.llamacpp.mmap,
                "flash_attention": config.llamacpp.flash_attention.value,
            }
        case EngineKind.UPSTREAM:
            return {}  # nothing is loaded here


def _key_of(target: Target) -> str:
    source, adapter = target.local, target.adapter
    if adapter is None:
        return cache_key(str(target.engine), source.path, source.version)
    laid_over = f"\n{adapter.path}\n{adapter.version}\n{adapter.scale!r}"
    return cache_key(str(target.engine), source.path, source.version + laid_over)


def cache_key(engine: str, path: str, version: str) -> str:
    """Return the name of the folder of an artifact's saved caches; another one for other weights."""
    text = f"{engine}\n{path}\n{version}"
    return hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=16).hexdigest()
