"""Typer's command and group, made quick to start.

Typer 0.29 imports pydantic (0.2 s) to convert the first parameter that is not a flag, even the `--help` that nobody
gave and an option's default of None. Text and absent values need no conversion, so these never get there; numbers still
do. Not here: any verb.
"""

from collections.abc import Callable, Iterable
from typing import Any

from typer.core import TyperCommand, TyperGroup


class QuickCommand(TyperCommand):
    """A command whose text and absent parameters are taken as they are."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _skip_conversion(self.params)

    def get_params(self, ctx: Any) -> list[Any]:
        """List the parameters, `--help` included."""
        params = super().get_params(ctx)
        _skip_conversion(params)
        return params


class QuickGroup(TyperGroup):
    """A group of commands, the same way."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _skip_conversion(self.params)

    def get_params(self, ctx: Any) -> list[Any]:
        """List the parameters, `--help` included."""
        params = super().get_params(ctx)
        _skip_conversion(params)
        return params


def _skip_conversion(params: Iterable[Any]) -> None:
    for param in params:
        is_plain = param.callback is None and not param.multiple and param.nargs == 1
        if is_plain and not hasattr(param, "convert_value"):
            param.convert_value = param.process_value
            param.process_value = _quick(param, param.process_value)
        elif param.name == "help" and not hasattr(param, "convert_value"):
            param.convert_value = param.process_value
            param.process_value = _quick_help(param.process_value)


def _quick(param: Any, convert: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    is_text = param.type_descriptor.annotation is str

    def process_value(ctx: Any, value: Any) -> Any:
        if (value is None and not param.required) or (is_text and isinstance(value, str)):
            return value
        return convert(ctx, value)

    return process_value


def _quick_help(convert: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def process_value(ctx: Any, value: Any) -> Any:
        return convert(ctx, value) if value else None

    return process_value
