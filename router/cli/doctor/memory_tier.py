"""The doctor's question about what hangs on the machine's memory: which defaults hold here, and who says so."""

from typing import Final

from backends.machine.current import current_platform
from router.cli.doctor.check import Check
from router.cli.terminal.context import read_config
from router.cli.terminal.output import size
from router.config import Config
from router.config.paths import Paths
from router.config.tiers import settings_in_force, tier_for
from router.errors import ConfigError
from router.status.memory import MemorySetting

_UNSET: Final = {"mlx.cache_limit_bytes": "5 % of Metal's working set", "images.max_side_px": "the model's own"}
_NO_LIMIT: Final = "no limit"


def check_tier(paths: Paths) -> Check:
    """Name the tier, and what of its defaults the config has otherwise."""
    try:
        config = read_config(paths)
    except ConfigError:
        config = Config()  # another check says what is wrong with it
    tier = tier_for(config, current_platform().memory().total_bytes)
    said = [f"{setting.name} {_in_words(setting)} ({setting.origin})" for setting in settings_in_force(config, tier)]
    return Check("memory tier", "note", f"{tier}: {', '.join(said)}")


def _in_words(setting: MemorySetting) -> str:
    match setting.value:
        case None:
            return _UNSET.get(setting.name, _NO_LIMIT)
        case bool(value):
            return str(value).lower()
        case int(value) if setting.name.endswith("_bytes"):
            return size(value) or ""
        case int(value) | float(value) if setting.name.endswith("_s"):
            return f"{value:g} s"
        case value:
            return str(value)
