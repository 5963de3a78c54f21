"""What MLX computes on: Metal's GPU, or the CPU where there is none or the environment asks for it."""

from collections.abc import Mapping
from typing import Final

import mlx.core as mx

from backends.machine.base import is_cpu_wanted

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
    """Return how much memory MLX may keep for reuse on a large machine; None = there is no GPU that tells.

    Args:
        device: As `device_info` tells it.
    """
    working_set = device.get("max_recommended_working_set_size")
    if not isinstance(working_set, int):
        return None
    return max(_LEAST_POOL_BYTES, min(_MOST_POOL_BYTES, int(_POOL_SHARE * working_set)))
