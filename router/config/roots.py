"""Which folders the config has scanned for models. Not here: the scan (`registry.scan`)."""

from pathlib import Path

from registry.scan import ScanRoot
from router.config.paths import Paths
from router.config.schema import Config

LM_STUDIO_FOLDERS = (".lmstudio/models", ".cache/lm-studio/models")
"""Under the home folder, on macOS and Linux alike; the second of versions before 0.3.6. Source: LM Studio's docs."""

OLLAMA_FOLDER = ".ollama/models"
"""Under the home folder. Source: ollama, docs/faq, "Where are models stored?"."""


def scan_roots(config: Config, paths: Paths) -> tuple[ScanRoot, ...]:
    """List the folders in the order in which names are given: mlxr's own, the config's, and the stores of other tools.

    Args:
        config: Loaded with `user_home`, so that its folders are absolute.
    """
    roots = [ScanRoot(path=paths.models_dir, is_owned=True)]
    roots += [ScanRoot(path=Path(folder)) for folder in config.models.extra_folders]
    if config.models.hf_cache:
        cache = config.models.hf_cache_dir
        roots.append(ScanRoot(path=Path(cache) if cache else paths.hf_cache_dir, layout="hf_cache"))
    if config.models.lm_studio:
        folder = config.models.lm_studio_dir
        folders = [Path(folder)] if folder else [paths.user_home / name for name in LM_STUDIO_FOLDERS]
        roots += [ScanRoot(path=folder, layout="lm_studio") for folder in folders]
    if config.models.ollama:
        store = config.models.ollama_dir
        roots.append(ScanRoot(path=Path(store) if store else paths.user_home / OLLAMA_FOLDER, layout="ollama"))
    return tuple(roots)
