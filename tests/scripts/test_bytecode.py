"""What is written before the tests is what pytest looks for: else each of its processes rewrites all tests itself."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from _pytest.assertion import rewrite

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bytecode", ROOT / "scripts" / "bytecode.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pytest_finds_a_test_rewritten_and_another_file_is_compiled(script: ModuleType, tmp_path: Path) -> None:
    test, module = tmp_path / "test_sum.py", tmp_path / "total.py"
    test.write_text("def test_sum():\n    assert 1 + 1 == 3\n")
    module.write_text("TOTAL = 3\n")
    for path in (test, module):
        script.write(path)
    code = rewrite._read_pyc(test, rewrite.get_cache_dir(test) / f"test_sum{rewrite.PYC_TAIL}")
    assert code is not None
    assert "@pytest_ar" in code.co_names, "its asserts say what they compared"
    assert list(tmp_path.glob("__pycache__/total.*.pyc"))


def test_a_file_that_does_not_compile_is_left_to_whoever_imports_it(script: ModuleType, tmp_path: Path) -> None:
    for name in ("test_broken.py", "broken.py"):
        (tmp_path / name).write_text("def (:\n")
        script.write(tmp_path / name)
    assert not list(tmp_path.rglob("*.pyc"))
