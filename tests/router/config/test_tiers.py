"""Tiers: which defaults hold by memory, and that what somebody says goes before them."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.config import Config, CurrentConfig, parse_config
from router.config.reference import reference_text
from router.config.tiers import TIERS, Tier, completed, settings_in_force, tier_of

GIB = 1 << 30


@pytest.mark.parametrize(
    ("gib", "tier"),
    [
        (0.5, "ultra_low"),
        (2, "ultra_low"),
        (2.01, "low"),
        (3, "low"),
        (4, "standard"),
        (6, "standard"),
        (7, "high"),
        (16, "high"),
        (16.1, "desktop"),
        (512, "desktop"),
    ],
)
def test_the_tier_is_the_smallest_that_the_memory_fits_into(gib: float, tier: str) -> None:
    assert tier_of(int(gib * GIB)) == tier


@given(st.integers(0, 1 << 50), st.integers(0, 1 << 50))
def test_more_memory_is_never_a_lower_tier(one: int, other: int) -> None:
    order = list(Tier)
    assert order.index(tier_of(min(one, other))) <= order.index(tier_of(max(one, other)))


def test_the_table() -> None:
    columns = ("cache_limit_bytes", "memory_limit_bytes", "max_tokens", "image_side_px", "keeps_loaded")
    rows = {tier.value: tuple(getattr(defaults, name) for name in columns) for tier, defaults in TIERS.items()}
    assert rows == {
        "ultra_low": (3_000_000, 1_500_000_000, 300, 192, False),
        "low": (8_000_000, 2_000_000_000, 500, 256, False),
        "standard": (20_000_000, 2_500_000_000, 800, 384, True),
        "high": (50_000_000, None, 1000, 448, True),
        "desktop": (None, None, None, None, True),
    }
    assert [tier.value for tier, defaults in TIERS.items() if defaults.aggressive_cleanup] == ["ultra_low"]
    assert [defaults.checkpoint_bytes for defaults in TIERS.values()] == [
        16_000_000,
        32_000_000,
        128_000_000,
        512_000_000,
        2_000_000_000,
    ]
    assert [defaults.keep_alive_s for defaults in TIERS.values()] == [1, 1, 300, 900, 1800]


def test_defaults_stand_in_where_the_config_says_nothing_and_nowhere_else() -> None:
    config = parse_config("generation: {max_tokens: 7}\nlimits: {keep_alive_s: forever}", source="x")
    filled = completed(config, Tier.LOW)
    assert (filled.generation.max_tokens, filled.limits.keep_alive_s) == (7, "forever")
    assert (filled.mlx.cache_limit_bytes, filled.mlx.memory_limit_bytes) == (8_000_000, 2_000_000_000)
    assert filled.memory.aggressive_cleanup is False
    assert filled.images == config.images, "what is free counts as well"
    assert [(each.name, each.value, each.origin) for each in settings_in_force(config, Tier.LOW)] == [
        ("mlx.cache_limit_bytes", 8_000_000, "tier"),
        ("mlx.memory_limit_bytes", 2_000_000_000, "tier"),
        ("generation.max_tokens", 7, "config"),
        ("images.max_side_px", 256, "tier"),
        ("cache.checkpoint_bytes", 32_000_000, "tier"),
        ("limits.keep_alive_s", "forever", "config"),
        ("memory.aggressive_cleanup", False, "tier"),
        ("lifecycle.unload_before_sleep", True, "tier"),
    ]


@pytest.mark.parametrize("tier", list(Tier))
def test_the_shipped_file_leaves_everything_to_the_tier(tier: Tier) -> None:
    config = parse_config(reference_text(), source="server.yaml")
    assert {each.origin for each in settings_in_force(config, tier)} == {"tier"}


def test_an_edit_counts_from_then_on_and_the_tier_can_be_said() -> None:
    current = CurrentConfig(Config(), total_bytes=4 * GIB)
    assert (current.tier, current.config.generation.max_tokens) == (Tier.STANDARD, 800)
    current.take_over(parse_config("memory: {tier: ultra_low}\ngeneration: {max_tokens: 9}", source="x"))
    assert (current.tier, current.config.generation.max_tokens) == (Tier.ULTRA_LOW, 9)
    assert current.config.limits.keep_alive_s == 1
    assert current.settings[2].origin == "config"


def test_without_a_machine_nothing_is_filled_in() -> None:
    assert CurrentConfig(Config()).config == Config()
    assert msgspec.structs.asdict(TIERS[Tier.DESKTOP])["max_tokens"] is None
