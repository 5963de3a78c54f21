"""Verbs and groups of verbs, on click: declared by decorators, imported when they are called, explained alike.

Not here: which verbs there are (`router.cli.app`), and options that several of them have (`options.py`).
"""

import ast
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, TypeVar

import click

_F = TypeVar("_F", bound=Callable[..., Any])

_TYPE_NAMES: Final = {"text": "str", "integer": "int", "integer range": "int range"}
"""Python's names for click's; the others are the same."""


def _type_name(param: click.Parameter) -> str:
    name = _TYPE_NAMES.get(param.type.name, param.type.name)
    return f"<list[{name}]>" if param.nargs == -1 else f"<{name}>"


class _Argument(click.Argument):
    """An argument that is called by its name as it is written, and explained with its type."""

    def make_metavar(self, ctx: click.Context) -> str:
        del ctx
        return self.metavar or self.name

    def get_usage_pieces(self, ctx: click.Context) -> list[str]:
        name = self.make_metavar(ctx)
        return [(f"{{{name}}}" if self.required else f"[{name}]") + "..." * (self.nargs == -1)]

    def get_help_record(self, ctx: click.Context) -> tuple[str, str]:
        return f"{self.make_metavar(ctx)} {_type_name(self)}", f"{self.help}{'  [required]' * self.required}"


class _Option(click.Option):
    """An option that is explained with its type where no word stands for the value."""

    def make_metavar(self, ctx: click.Context) -> str:
        del ctx
        return self.metavar or _type_name(self)


class _Verb(click.Command):
    """A verb whose help lists arguments as it lists options."""

    def format_arguments(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [param.get_help_record(ctx) for param in self.params if isinstance(param, click.Argument)]
        if rows:
            with formatter.section("Arguments"):
                formatter.write_dl(rows)


def argument(*names: str, **settings: Any) -> Callable[[_F], _F]:
    """Declare an argument, as click.argument does."""
    return click.argument(*names, cls=_Argument, **settings)


def option(*names: str, **settings: Any) -> Callable[[_F], _F]:
    """Declare an option, as click.option does."""
    return click.option(*names, cls=_Option, **settings)


def verb(function: Callable[..., int | None]) -> click.Command:
    """Make a verb of a function: its docstring is the help, what it returns the exit code, None = 0."""
    return click.command(cls=_Verb)(function)


class LazyVerb(click.Command):
    """Stands for a verb until it is called or its own help is asked; only then its module is imported.

    Args:
        place: `module:function`, inside `router.cli`.
    """

    def __init__(self, name: str, place: str, *, is_hidden: bool = False) -> None:
        super().__init__(name, hidden=is_hidden)
        module, _, self._function = place.partition(":")
        self._module = f"router.cli.{module}"

    def loaded(self) -> click.Command:
        """Import the verb."""
        found = getattr(import_module(self._module), self._function)
        assert isinstance(found, click.Command)
        return found

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Parse the arguments as the verb itself does."""
        return self.loaded().make_context(info_name, args, parent, **extra)

    def get_short_help_str(self, limit: int = 45) -> str:
        """Give the docstring's first sentence: from the source, because importing some verbs takes a second."""
        spec = find_spec(self._module)
        assert spec is not None
        assert spec.origin is not None
        tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
        functions = (item for item in tree.body if isinstance(item, ast.FunctionDef) and item.name == self._function)
        return click.Command(None, help=ast.get_docstring(next(functions))).get_short_help_str(limit)


class Group(click.Group):
    """Verbs under one word.

    Args:
        verbs: What each name stands for: a verb's place, or a command that is there already, such as a group.
        default: The verb that the word alone means, whose options it then takes; None = the word alone prints its help.
    """

    def __init__(
        self, description: str, verbs: Mapping[str, str | click.Command], default: str | None = None, **settings: Any
    ) -> None:
        settings.setdefault("subcommand_metavar", "COMMAND [ARGS]...")
        settings.setdefault("no_args_is_help", default is None)
        commands = {name: LazyVerb(name, each) if isinstance(each, str) else each for name, each in verbs.items()}
        super().__init__(help=description, commands=commands, **settings)
        self._default = None if default is None else LazyVerb(default, str(verbs[default]))
        if self._default is not None:
            self.callback, self.invoke_without_command = self._call_default, True

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the names in the order of their declaration."""
        del ctx
        return list(self.commands)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """List the parameters, those of the default verb first."""
        own = super().get_params(ctx)
        return own if self._default is None else [*self._default.loaded().params, *own]

    def _call_default(self, **options: Any) -> Any:
        context = click.get_current_context()
        if self._default is not None and context.invoked_subcommand is None:
            return context.invoke(self._default.loaded(), **options)
        return None


class OpenGroup(Group):
    """A group whose first word may be a verb; any other belongs to its verb `run`, so that `run` may be left out."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `run` before words that begin with no verb, e.g. `MODEL --repeats 3` or `--a mlx MODEL`."""
        if args and args[0] not in {*self.commands, *ctx.help_option_names}:
            args = ["run", *args]
        return super().parse_args(ctx, args)
