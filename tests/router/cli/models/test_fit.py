import json
from pathlib import Path

from tests.router.cli.conftest import Mlxr


def test_both_engines_are_told_apart(mlxr: Mlxr, tiny_gguf: Path, tiny_mlx: Path) -> None:
    mlxr("models", "add", str(tiny_gguf), "--name", "tiny")
    mlxr("models", "add", str(tiny_mlx), "--name", "tiny")
    table = mlxr("models", "fit", "tiny", "--ctx", "256")
    assert table.exit_code == 0
    rows = {line.split()[0]: line for line in table.out.splitlines()[1:3]}
    assert rows.keys() == {"llamacpp", "mlx"}
    assert " yes " in rows["mlx"]
    report = json.loads(mlxr("models", "fit", "tiny", "--ctx", "256", "--engine", "mlx", "--json").out)
    (engine,) = report["engines"]
    assert (engine["engine"], engine["context_length"], engine["fits"]) == ("mlx", 256, True)


def test_a_quantized_cache_takes_less(mlxr: Mlxr, tiny_gguf: Path) -> None:
    mlxr("models", "add", str(tiny_gguf), "--name", "tiny")

    def kv_bytes(*options: str) -> int:
        report = json.loads(mlxr("models", "fit", "tiny", "--json", *options).out)
        return int(report["engines"][0]["kv_bytes"])

    assert kv_bytes("--kv", "q8_0") < kv_bytes("--kv", "f16") < kv_bytes()  # float32 weights: a float32 cache


def test_the_models_own_settings_count_where_the_options_say_nothing(mlxr: Mlxr, tiny_gguf: Path) -> None:
    mlxr("models", "add", str(tiny_gguf), "--name", "tiny")
    mlxr("models", "set", "tiny", "context_length=64", "parallel=3")

    def report(*options: str) -> tuple[int, int]:
        (engine,) = json.loads(mlxr("models", "fit", "tiny", "--json", *options).out)["engines"]
        return engine["context_length"], engine["parallel"]

    assert report() == (64, 3)
    assert report("--ctx", "128", "--parallel", "1") == (128, 1)


def test_nonsense_is_refused(mlxr: Mlxr, tiny_gguf: Path) -> None:
    mlxr("models", "add", str(tiny_gguf), "--name", "tiny")
    refused = mlxr("models", "fit", "tiny", "--kv", "q9")
    assert (refused.exit_code, "choose f32, f16" in refused.err) == (2, True)
    assert mlxr("models", "fit", "tiny", "--ctx", "0").exit_code == 2
    assert mlxr("models", "fit", "absent").exit_code == 1
    assert "no usable artifact for mlx" in mlxr("models", "fit", "tiny", "--engine", "mlx").err
