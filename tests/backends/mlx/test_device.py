"""What MLX computes on, by what the library says of a Mac (by its documentation; nothing was seen on one)."""

import mlx.core as mx
import pytest

from backends.mlx import device
from backends.mlx.engine import MLXEngine
from backends.wire.messages import Hello

GIB = 1 << 30


@pytest.fixture
def mac(monkeypatch: pytest.MonkeyPatch) -> None:
    said: dict[str, str | int] = {"device_name": "Apple M3 Pro", "memory_size": 36 * GIB}
    said["max_recommended_working_set_size"] = 27 * GIB
    monkeypatch.setattr(mx.metal, "is_available", lambda: True)
    monkeypatch.setattr(mx, "device_info", lambda: said)


@pytest.mark.usefixtures("mac")
def test_a_mac_tells_its_working_set_and_has_a_pool_by_it() -> None:
    info = MLXEngine().info()
    assert (info.features, info.working_set_bytes) == ("Metal GPU", 27 * GIB)
    assert device.default_pool_bytes(info.device) == int(0.05 * 27 * GIB)


@pytest.mark.usefixtures("mac")
def test_the_cpu_of_a_mac_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLXR_MLX_DEVICE", "cpu")
    info = MLXEngine().info()
    assert (info.features, info.working_set_bytes, info.device) == ("CPU", None, {})
    assert mx.default_device() == mx.Device(mx.cpu)


@pytest.mark.parametrize(
    ("memory_gib", "working_set_gib", "expected"),
    [
        (18, 12, int(0.05 * 12 * GIB)),
        (24, 2, 256 << 20),
        (512, 460, 4 * GIB),
    ],
)
def test_the_pool_is_a_share_between_bounds(memory_gib: int, working_set_gib: float, expected: int | None) -> None:
    said: dict[str, str | int] = {"memory_size": memory_gib * GIB}
    said["max_recommended_working_set_size"] = int(working_set_gib * GIB)
    assert device.default_pool_bytes(said) == expected


def test_without_a_gpu_nothing_is_said_and_mlx_decides() -> None:
    if mx.metal.is_available():
        pytest.skip("there is one")
    assert device.device_info() == {}
    assert device.default_pool_bytes({}) is None
    assert Hello("mlx", {}, "CPU", 1.0).working_set_bytes is None
