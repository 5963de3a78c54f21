"""Where mlxr keeps its files: one frozen Struct that is built once, by the command line, and handed down.

Not here: what is in the files, and any look at the environment below `paths_from_env`. Nothing is created by building a
`Paths`; `ensure_folders` does that, for the commands that write.
"""

import string
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from registry.disk import make_private

HOME_VARIABLE = "MLXR_HOME"
"""Environment variable that puts every folder of mlxr under one."""


class Paths(msgspec.Struct, frozen=True, kw_only=True):
    """Every folder and file that mlxr owns, absolute, and two of its surroundings.

    Attributes:
        runtime_dir: Sockets; short enough for one, and emptied by the system now and then.
        user_home: What `~` in the config stands for.
        hf_cache_dir: Where Hugging Face's tools keep what they downloaded; may not exist.
    """

    data_dir: Path
    config_dir: Path
    log_dir: Path
    runtime_dir: Path
    user_home: Path
    hf_cache_dir: Path

    @property
    def models_dir(self) -> Path:
        """Model files that belong to mlxr itself."""
        return self.data_dir / "models"

    @property
    def saved_caches_dir(self) -> Path:
        """Saved caches of conversations (`cache.persist`)."""
        return self.data_dir / "caches"

    @property
    def conversations_db(self) -> Path:
        """The SQLite file of stored responses: what users said, so nothing of it is in the catalogue."""
        return self.data_dir / "conversations.sqlite3"

    @property
    def contexts_db(self) -> Path:
        """The SQLite file of what was told again of conversations: of what users said, so in no catalogue either."""
        return self.data_dir / "contexts.sqlite3"

    @property
    def keys_db(self) -> Path:
        """The SQLite file of API keys' hashes and of what they used."""
        return self.data_dir / "keys.sqlite3"

    @property
    def upstreams_file(self) -> Path:
        """What upstreams were given today."""
        return self.data_dir / "upstreams.json"

    @property
    def batches_dir(self) -> Path:
        """The files of batches, and the SQLite file of what has become of their lines."""
        return self.data_dir / "batches"

    @property
    def working_set_file(self) -> Path:
        """What Metal said of this machine, where there is Metal."""
        return self.data_dir / "metal.json"

    @property
    def last_model_file(self) -> Path:
        """The name of the model that was loaded last (`models.preload: last`)."""
        return self.data_dir / "last-model"

    @property
    def registry_db(self) -> Path:
        """The catalogue's SQLite file."""
        return self.data_dir / "registry.sqlite3"

    @property
    def config_file(self) -> Path:
        """The config that `mlxr serve` reads without `--config`."""
        return self.config_dir / "server.yaml"

    @property
    def service_secrets_file(self) -> Path:
        """Variables of the service that are nobody else's business, `NAME=VALUE` lines; the user writes it."""
        return self.config_dir / "service.env"

    @property
    def log_file(self) -> Path:
        """The gateway's log."""
        return self.log_dir / "mlxr.log"

    @property
    def output_file(self) -> Path:
        """What a server without a terminal printed, and its last words where it crashed."""
        return self.log_dir / "serve.out"

    @property
    def pid_file(self) -> Path:
        """The number of the gateway's process, while it serves."""
        return self.runtime_dir / "mlxr.pid"

    @property
    def token_file(self) -> Path:
        """The token by which this user's programs are known over the unix socket, while a gateway runs."""
        return self.runtime_dir / "mlxr.token"

    @property
    def lock_file(self) -> Path:
        """Locked by the one gateway that uses the data folder; it lies in that very folder."""
        return self.data_dir / "gateway.lock"

    @property
    def instance_file(self) -> Path:
        """What the running gateway says about itself."""
        return self.data_dir / "gateway.json"

    @classmethod
    def under(cls, home: Path, *, user_home: Path | None = None, hf_cache_dir: Path | None = None) -> "Paths":
        """Put everything under one folder, `home`."""
        root = home.absolute()
        return cls(
            data_dir=root / "data",
            config_dir=root / "config",
            log_dir=root / "log",
            runtime_dir=root / "run",
            user_home=user_home or root,
            hf_cache_dir=hf_cache_dir or root / "huggingface" / "hub",
        )

    def ensure_folders(self) -> None:
        """Create the folders that are missing, readable by this user only; folders that exist keep their mode."""
        for folder in (self.data_dir, self.models_dir, self.config_dir, self.log_dir, self.runtime_dir):
            make_private(folder)


def paths_from_env(environ: Mapping[str, str]) -> Paths:
    """Choose the folders from the environment: all under `MLXR_HOME`, or where this platform puts such files.

    Only the command line calls this. An empty variable counts as unset.
    """
    user_home = Path(environ.get("HOME") or "~").expanduser()
    hf_cache_dir = _hf_cache_dir(environ)
    home = environ.get(HOME_VARIABLE)
    if home:
        return Paths.under(_from_tilde(home, user_home), user_home=user_home, hf_cache_dir=hf_cache_dir)
    from platformdirs import PlatformDirs  # noqa: PLC0415 - it reads os.environ by itself

    dirs = PlatformDirs("mlxr", appauthor=False)
    # Without XDG_RUNTIME_DIR platformdirs falls back to a name in /tmp that anybody could have taken before us, and on
    # macOS to a folder of caches that the system may empty at any time.
    has_runtime_dir = bool(environ.get("XDG_RUNTIME_DIR"))
    return Paths(
        data_dir=dirs.user_data_path,
        # macOS has one folder for both; a file that people edit still gets a folder of its own.
        config_dir=dirs.user_config_path / "config" if sys.platform == "darwin" else dirs.user_config_path,
        log_dir=dirs.user_log_path,
        runtime_dir=dirs.user_runtime_path if has_runtime_dir else dirs.user_data_path / "run",
        user_home=user_home,
        hf_cache_dir=hf_cache_dir,
    )


def _from_tilde(text: str, user_home: Path) -> Path:
    return user_home / text[2:] if text.startswith("~/") else Path(text)


def expanded(text: str, environ: Mapping[str, str]) -> Path:
    """Put the environment's values into a path: `~`, `$NAME` and `${NAME}`."""
    filled = string.Template(text).safe_substitute(environ)
    return _from_tilde(filled, Path(environ.get("HOME") or "~").expanduser())


def hf_home(environ: Mapping[str, str]) -> Path:
    """Find the folder of Hugging Face's tools as they do: HF_HOME, else XDG_CACHE_HOME/huggingface, else ~/.cache/...

    Source: huggingface_hub, `constants.py`.
    """
    if own := environ.get("HF_HOME"):
        return expanded(own, environ)
    return expanded(environ.get("XDG_CACHE_HOME") or "~/.cache", environ) / "huggingface"


def _hf_cache_dir(environ: Mapping[str, str]) -> Path:
    """Find Hugging Face's cache as its own tools do: HF_HUB_CACHE, else under their folder."""
    hub_cache = environ.get("HF_HUB_CACHE") or environ.get("HUGGINGFACE_HUB_CACHE")
    return expanded(hub_cache, environ) if hub_cache else hf_home(environ) / "hub"
