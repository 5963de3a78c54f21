"""Names of tools that models can write."""

from backends.wire.request import Tool, ToolChoice
from router.protocols.fields.tool_names import writable_name, writable_names
from router.protocols.fields.tools import Choice, tools_for
from router.protocols.ollama.schemas import NamedFunction


def test_odd_characters_become_others_and_names_stay_apart() -> None:
    assert writable_name("get_weather.v2-x") == "get_weather.v2-x"
    assert writable_name("mcp: a/b é") == "mcp__a_b__"
    assert writable_names(["a b", "a/b", "a_b"]) == {"a b": "a_b", "a/b": "a_b_2", "a_b": "a_b_3"}
    assert len(writable_name("x" * 300)) == 128


def test_the_model_is_shown_what_it_can_write_and_the_client_told_what_it_said() -> None:
    functions = [NamedFunction("tell time"), NamedFunction("plain")]
    tools = tools_for(functions, Choice(ToolChoice.REQUIRED, "tell time"), is_parallel=True)
    assert [shown["function"]["name"] for shown in tools.shown] == ["tell_time"]
    assert tools.use is not None
    assert tools.use.named == "tell_time"
    parameters = {"type": "object", "properties": {}, "additionalProperties": False}
    assert tools.use.tools == (Tool("tell_time", parameters, "tell time"),)
