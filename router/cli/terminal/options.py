"""Arguments and options that several verbs have, each declared once. Not here: those of one verb alone."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

from router.cli.terminal.verbs import argument, option

_F = TypeVar("_F", bound=Callable[..., Any])

ALL_FIELDS: Final = "Print JSON, with every field."


def json_option(what: str = "Print JSON.") -> Callable[[_F], _F]:
    """Declare `--json`, as `is_json`."""
    return option("--json", "is_json", is_flag=True, help=what)


def model_argument(what: str = "Model or alias.", *, is_required: bool = True) -> Callable[[_F], _F]:
    """Declare the model that the verb is about, as `name`."""
    return argument("name", required=is_required, help=what)


def config_option() -> Callable[[_F], _F]:
    """Declare `--config`, as `config`."""
    return option("--config", metavar="FILE", help="Config file, instead of mlxr's own.")


def engine_option(what: str) -> Callable[[_F], _F]:
    """Declare `--engine`, as `engine`; `check_engine` judges it."""
    return option("--engine", metavar="ENGINE", help=what)
