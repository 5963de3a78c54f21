"""In which folders models are: those of mlxr's own, and all that the config has scanned. Not here: the scan."""

from pathlib import Path

from registry.files import is_folder_at
from registry.scan import ScanRoot
from router.config.paths import Paths
from router.config.schema import Config

LM_STUDIO_FOLDERS = (".lmstudio/models", ".cache/lm-studio/models")
"""Under the home folder, on macOS and Linux alike; the second of versions before 0.3.6. Source: LM Studio's docs."""

OLLAMA_FOLDER = ".ollama/models"
"""Under the home folder. Source: ollama, docs/faq, "Where are models stored?"."""


HOME_FOLDER = "Models/gguf"
"""Under the home folder: where people keep GGUF files that several programs open."""


def models_dir(config: Config, paths: Paths) -> Path:
    """Give the folder where pulled, converted and made models go."""
    return paths.models_dir if config.models.dir is None else Path(config.models.dir)


def own_folders(config: Config, paths: Paths) -> tuple[Path, ...]:
    """List the folders whose files are mlxr's own: where models go, and where they went before that was set."""
    return tuple(dict.fromkeys((models_dir(config, paths), paths.models_dir)))


def is_own(path: Path, config: Config, paths: Paths) -> bool:
    """Tell whether a file or folder lies in one of mlxr's own folders."""
    return any(path.is_relative_to(folder) for folder in own_folders(config, paths))


def scan_roots(config: Config, paths: Paths) -> tuple[ScanRoot, ...]:
    """List the folders in the order in which names are given: mlxr's own, the config's, and the stores of other tools.

    Args:
        config: Loaded with `user_home`, so that its folders are absolute.
    """
    roots = [ScanRoot(path=folder, is_owned=True) for folder in own_folders(config, paths)]
    roots += [ScanRoot(path=Path(folder)) for folder in config.models.extra_folders]
    home_folder = paths.user_home / HOME_FOLDER
    if config.models.home_folder and is_folder_at(home_folder) and str(home_folder) not in config.models.extra_folders:
        roots.append(ScanRoot(path=home_folder))
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
