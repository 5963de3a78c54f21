"""Makes transformers' list of its own models cheap: 0.5 s of a processor at each start of an mlx worker before.

The library reads some 1,600 of its own files line by line to learn what they export, and it does so twice, because it
calls one folder by two names. Its own functions still do the work, on the last lines of each file and once.
"""

import functools
import importlib.abc
import importlib.machinery
import os
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, Final

_MODULE: Final = "transformers.utils.import_utils"


def quicken_transformers() -> None:
    """Quicken what is imported from now on; nothing happens where it is imported already."""
    if _MODULE not in sys.modules and not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(importlib.abc.MetaPathFinder):
    """Finds one module, where and as it would be found without."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != _MODULE:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = _Loader(fullname, spec.loader.path)
        return spec


class _Loader(importlib.machinery.SourceFileLoader):
    """Loads it, and has two of its functions called with less; those that a version does not have are left out."""

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        for name, shortened in (("fetch__all__", _last_lines), ("create_import_structure_from_path", _folder_of)):
            own = getattr(module, name, None)
            if own is not None:
                setattr(module, name, _with_first(own, shortened))


def _with_first(own: Callable[..., Any], changed: Callable[[str], str]) -> Callable[..., Any]:
    """Have a function's first argument changed where it is a text; however else it is called, it is called so."""

    @functools.wraps(own)
    def call(*arguments: Any, **named: Any) -> Any:
        if arguments and isinstance(arguments[0], str):
            arguments = (changed(arguments[0]), *arguments[1:])
        return own(*arguments, **named)

    return call


def _last_lines(content: str) -> str:
    """Return a file from where its exports begin: "the last line that starts with `__all__`" counts."""
    return content[content.rfind("\n__all__") + 1 :]


def _folder_of(path: str) -> str:
    """Return what a package's folder is called, whose list is kept, where its file is named."""
    return os.path.dirname(path) if path.endswith(".py") else path  # noqa: PTH120 - the library's own form
