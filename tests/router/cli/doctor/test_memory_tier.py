"""The doctor names the tier and who has the say about each of its defaults."""

from pathlib import Path

from router.cli.doctor.memory_tier import check_tier
from router.config.paths import Paths


def test_each_value_stands_with_its_origin(tmp_path: Path) -> None:
    paths = Paths.under(tmp_path)
    paths.ensure_folders()
    paths.config_file.write_text("memory: {tier: low}\ngeneration: {max_tokens: 77}")
    check = check_tier(paths)
    assert (check.name, check.state) == ("memory tier", "note")
    assert check.found == (
        "low: mlx.cache_limit_bytes 8.0 MB (tier), mlx.memory_limit_bytes 2.0 GB (tier), "
        "generation.max_tokens 77 (config), images.max_side_px 256 (tier), "
        "cache.checkpoint_bytes 32.0 MB (tier), limits.keep_alive_s 1 s (tier), "
        "memory.aggressive_cleanup false (tier), lifecycle.unload_before_sleep true (tier)"
    )


def test_a_config_that_cannot_be_used_is_another_checks_business(tmp_path: Path) -> None:
    paths = Paths.under(tmp_path)
    paths.ensure_folders()
    paths.config_file.write_text("memory: {tier: enormous}")
    assert "(config)" not in check_tier(paths).found


def test_what_has_no_limit_is_said_in_words(tmp_path: Path) -> None:
    paths = Paths.under(tmp_path)
    paths.ensure_folders()
    paths.config_file.write_text("memory: {tier: desktop}")
    for words in ("5 % of Metal's working set", "max_tokens no limit", "the model's own", "keep_alive_s 1800 s"):
        assert words in check_tier(paths).found
