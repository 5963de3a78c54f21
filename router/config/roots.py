"""Which folders the config has scanned for models. Not here: the scan (`registry.discovery`)."""

from pathlib import Path

from registry.candidates import ScanRoot
from router.config.schema import Config
from router.paths import Paths


def scan_roots(config: Config, paths: Paths) -> tuple[ScanRoot, ...]:
    """List the folders: mlxr's own, the config's, Hugging Face's cache.

    Args:
        config: Loaded with `user_home`, so that its folders are absolute.
        paths: Where mlxr's own folder is.

    Returns:
        The roots, in the order in which names are given.
    """
    roots = [ScanRoot(path=paths.models_dir, is_owned=True)]
    roots += [ScanRoot(path=Path(folder)) for folder in config.models.extra_folders]
    if config.models.hf_cache:
        cache = config.models.hf_cache_dir
        roots.append(ScanRoot(path=Path(cache) if cache else paths.hf_cache_dir, layout="hf_cache"))
    return tuple(roots)
