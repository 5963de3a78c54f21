import click
import pytest

from router.cli.terminal.options import json_option
from router.cli.terminal.verbs import Group, LazyVerb, OpenGroup, argument, option, verb


@verb
@argument("model")
@option("--repeats", type=int, default=5)
def run(model: str, repeats: int) -> None:
    """Note what was given."""
    print(f"run {model} {repeats}")


@verb
@argument("model", required=False)
def history(model: str | None) -> None:
    """Note what was given."""
    print(f"history {model}")


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["qwen3"], "run qwen3 5"),
        (["qwen3", "--repeats", "3"], "run qwen3 3"),
        (["--repeats", "3", "qwen3"], "run qwen3 3"),
        (["run", "history"], "run history 5"),
        (["history"], "history None"),
        (["history", "qwen3"], "history qwen3"),
    ],
)
def test_a_word_that_is_no_verb_is_the_model(
    capsys: pytest.CaptureFixture[str], arguments: list[str], meant: str
) -> None:
    OpenGroup("Measure.", {"run": run, "history": history}).main(arguments, standalone_mode=False)
    assert capsys.readouterr().out == f"{meant}\n"


def test_a_missing_verb_is_only_missed_when_it_is_called(capsys: pytest.CaptureFixture[str]) -> None:
    group = Group("Here and gone.", {"run": run, "gone": "no_such_module:gone"})
    group.main(["run", "qwen3"], standalone_mode=False)
    assert capsys.readouterr().out == "run qwen3 5\n"
    with pytest.raises(ModuleNotFoundError):
        group.main(["gone"], standalone_mode=False)


@pytest.mark.parametrize(
    ("declared", "usage", "row"),
    [
        (argument("name", help="Which."), "{name}", "  name <str>  Which.  [required]"),
        (argument("size", type=int, required=False, help="How many."), "[size]", "  size <int>  How many."),
        (argument("pairs", nargs=-1, metavar="K=V", help="What."), "[K=V]...", "  K=V <list[str]>  What."),
        (option("--seed", type=click.IntRange(0), help="Of all."), "", "  --seed <int range>  Of all.  [x>=0]"),
        (option("--name", metavar="NAME", default="a", help="Of it."), "", "  --name NAME  Of it.  [default: a]"),
        (json_option(), "", "  --json  Print JSON."),
    ],
)
def test_help_tells_of_each_parameter_its_type_and_limits(declared: object, usage: str, row: str) -> None:
    shown = verb(declared(lambda **_: None))  # type: ignore[operator]
    context = click.Context(shown, info_name="try", show_default=True)
    text = shown.get_help(context)
    assert text.startswith(f"Usage: try [OPTIONS] {usage}".rstrip())
    assert row in text.splitlines()


def test_a_lazy_verb_tells_its_first_sentence_without_being_imported() -> None:
    lazy = LazyVerb("serve", "serve:serve")
    assert lazy.get_short_help_str(80) == "Serve the models over HTTP until Ctrl-C."
