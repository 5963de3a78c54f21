from backends.wire.prompts import ChatPrompt, ImagePart, PromptMessage, TextPart
from router.context.shown import shown_messages, shown_of
from router.status.contexts import ShownCall, ShownMessage


def test_a_prompt_is_shown_without_thoughts_and_with_mentions_of_pictures() -> None:
    picture = ImagePart(b"\x89PNG" + bytes(5000), "messages[0]")
    messages: list[PromptMessage] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [TextPart("What is this?"), picture]},
        {
            "role": "assistant",
            "content": None,
            "reasoning_content": "secret thoughts",
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": {"x": 1}}}],
        },
        {"role": "tool", "content": "a cat", "tool_call_id": "c1", "name": "look"},
    ]
    shown = shown_of(ChatPrompt(messages))
    assert b"secret" not in shown
    assert shown_messages(shown) == [
        ShownMessage(role="system", content="Be brief."),
        ShownMessage(role="user", content="What is this?\n[image: PNG, 4 KiB]"),
        ShownMessage(role="assistant", tool_calls=[ShownCall(id="c1", name="look", arguments='{"x":1}')]),
        ShownMessage(role="tool", content="a cat", tool_call_id="c1", name="look"),
    ]
