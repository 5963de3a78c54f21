import pytest

from examples.stage.needs import BUNDLED_MODEL, NOTHING, MissingError, ModelFacts, Needs, chosen_model

BUNDLED = ModelFacts(BUNDLED_MODEL, ("completion",), ("llamacpp", "mlx"))
SMALL = ModelFacts("small", ("completion", "tools"), ("llamacpp",), ("little",))
EYES = ModelFacts("eyes", ("completion", "vision"), ("llamacpp",))
VECTORS = ModelFacts("vectors", ("embedding",), ("llamacpp",))


def test_without_a_name_the_bundled_model_is_meant_then_a_loaded_one_then_any() -> None:
    assert chosen_model([SMALL, BUNDLED], ["small"], None, NOTHING) == BUNDLED_MODEL
    assert chosen_model([EYES, SMALL], ["small"], None, NOTHING) == "small"
    assert chosen_model([VECTORS, SMALL], ["vectors"], None, NOTHING) == "small"


def test_a_model_is_chosen_that_has_what_is_needed() -> None:
    models = [BUNDLED, SMALL, EYES]
    assert chosen_model(models, ["small"], None, Needs(sees=True)) == "eyes"
    assert chosen_model([SMALL, BUNDLED], ["small"], None, Needs(both_engines=True)) == BUNDLED_MODEL


def test_a_name_is_taken_as_it_is_and_the_server_says_what_is_wrong_with_it() -> None:
    assert chosen_model([SMALL], [], "small@mlx", NOTHING) == "small@mlx"
    assert chosen_model([SMALL], [], "nobody", Needs(sees=True)) == "nobody"


@pytest.mark.parametrize(
    ("models", "named", "needs", "words"),
    [
        ([EYES, SMALL], "little", Needs(sees=True), "small does not see pictures; `--model eyes` has it."),
        (
            [SMALL],
            "small",
            Needs(both_engines=True),
            "small has no form for mlx; `mlxr models convert small` makes the MLX form of a GGUF.",
        ),
        ([VECTORS, SMALL], "vectors", NOTHING, "vectors generates no text; `--model small` has it."),
        ([], None, NOTHING, "There is no model here; `mlxr models pull REFERENCE` gets one"),
        (
            [SMALL],
            None,
            Needs(sees=True),
            "No model here will do: one that sees pictures is needed; `mlxr models search",
        ),
        ([SMALL], None, Needs(both_engines=True), "No model here will do: one with a form for each engine is needed; "),
    ],
)
def test_what_is_missing_is_said_with_the_way_out(
    models: list[ModelFacts], named: str | None, needs: Needs, words: str
) -> None:
    with pytest.raises(MissingError) as caught:
        chosen_model(models, [], named, needs)
    assert words in str(caught.value)


def test_needs_are_written_for_people() -> None:
    assert NOTHING.words == ""
    assert Needs(num_workers=2, sees=True).words == "2 workers, a model that sees"
