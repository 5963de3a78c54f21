"""What MLX computes on: Metal's GPU, or the CPU where there is none or the environment asks for it."""

from collections.abc import Mapping
from typing import Final

import mlx.core as mx

from backends.machine.base import is_cpu_wanted

_SMALL_MAC_BYTES: Final = 16 << 30
_POOL_SHARE: Final = 0.05
_LEAST_POOL_BYTES: Final = 256 << 20
_MOST_POOL_BYTES: Final = 4 << 30


def prepare_device() -> None:
    """Compute on the CPU if that is wanted; before anything else is done with mlx, in each process."""
    if is_cpu_wanted():
        mx.set_default_device(mx.cpu)


def has_metal() -> bool:
    """Tell whether a GPU computes; on Macs the library says yes even where it will not find one."""
    return bool(mx.metal.is_available()) and not is_cpu_wanted()


def device_name() -> str:
    """Return the device in words for people."""
    return "Metal GPU" if has_metal() else "CPU"


def device_info() -> dict[str, str | int]:
    """Return what the library says of the GPU; {} without one."""
    return dict(mx.device_info()) if has_metal() else {}


def default_pool_bytes(device: Mapping[str, str | int]) -> int | None:
    """Return how much memory MLX may keep for reuse; None = what it allows itself, which is all of the machine's.

    Args:
        device: As `device_info` tells it.
    """
    memory, working_set = device.get("memory_size"), device.get("max_recommended_working_set_size")
    if not isinstance(memory, int) or not isinstance(working_set, int) or memory <= _SMALL_MAC_BYTES:
        return None
    return max(_LEAST_POOL_BYTES, min(_MOST_POOL_BYTES, int(_POOL_SHARE * working_set)))
