"""The list of its models that transformers makes of itself is the same, and made by workers on less."""

import importlib.machinery
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from backends.mlx import transformers_index

import_utils = pytest.importorskip("transformers.utils.import_utils")
MODELS = str(Path(import_utils.__file__).parents[1] / "models")


def loaded_by(loader: type[importlib.machinery.SourceFileLoader]) -> ModuleType:
    """Return the module once more, from its file."""
    module = ModuleType(import_utils.__name__)
    module.__file__ = import_utils.__file__
    module.__package__ = import_utils.__package__
    loader(import_utils.__name__, import_utils.__file__).exec_module(module)
    return module


@pytest.mark.slow
def test_the_list_is_the_one_that_transformers_makes() -> None:
    plain = loaded_by(importlib.machinery.SourceFileLoader)
    quick = loaded_by(transformers_index._Loader)
    expected = plain.define_import_structure(MODELS, prefix="models")
    assert quick.define_import_structure(MODELS, prefix="models") == expected
    assert any("models.llama.tokenization_llama" in modules for modules in expected.values())
    files = [f"{MODELS}/__init__.py", f"{MODELS}/auto/__init__.py"]
    assert [quick.define_import_structure(file) for file in files] == [
        plain.define_import_structure(file) for file in files
    ]
    of_path = quick.create_import_structure_from_path
    assert of_path(files[0]) is of_path(MODELS), "it is made once, by whichever name"


@pytest.mark.parametrize(
    "content",
    [
        "",
        "x = 1\n",
        '__all__ = ["A"]\n',
        'x = "__all__"\n__all__ = ["A", "B"]\ny = 2\n',
        '__all__ = ["A"]\ndef f(): pass\n__all__ = [\n    "B",\n    "C",\n]\n',
        '    __all__ = ["A"]\n',
    ],
)
def test_the_exports_of_a_file_are_read_alike(content: str) -> None:
    assert import_utils.fetch__all__(transformers_index._last_lines(content)) == import_utils.fetch__all__(content)


def test_a_version_with_other_functions_is_left_as_it_is(tmp_path: Path) -> None:
    """A function that is gone, and one that takes more and is called by names."""
    path = tmp_path / "import_utils.py"
    path.write_text("def fetch__all__(content, strict): return content, strict\n")
    module = ModuleType(import_utils.__name__)
    transformers_index._Loader(import_utils.__name__, str(path)).exec_module(module)
    content = "x = 1\n__all__ = ['A']\n"
    assert module.fetch__all__(content=content, strict=True) == (content, True)
    assert module.fetch__all__(content, strict=False) == ("__all__ = ['A']\n", False)
    assert not hasattr(module, "create_import_structure_from_path")


@pytest.mark.slow
def test_a_worker_s_engine_is_made_with_the_quick_list() -> None:
    code = (
        "from backends.engines import create_engine; create_engine('mlx');"
        "import transformers.utils.import_utils as m; print(hasattr(m.fetch__all__, '__wrapped__'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "True"
