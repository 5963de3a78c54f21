"""How much work a request is, told from its text."""

from backends.wire.prompts import ChatPrompt, PromptMessage, TextPart, TextPrompt, TokenPrompt
from router.models.size import CHARS_PER_TOKEN, USUAL_ANSWER_TOKENS, size_of


def says(*texts: str) -> list[PromptMessage]:
    return [{"role": "user" if index % 2 == 0 else "assistant", "content": text} for index, text in enumerate(texts)]


def test_texts_count_by_their_length_and_tokens_by_their_number() -> None:
    assert size_of([TextPrompt("x" * 400)], None).num_prompt_tokens == 400 // CHARS_PER_TOKEN
    assert size_of([TokenPrompt([1] * 7), TokenPrompt([1] * 8)], None).num_prompt_tokens == 15
    assert size_of([ChatPrompt(says("x" * 400, "y" * 40))], None).num_prompt_tokens == 110
    assert size_of([TextPrompt("")], None).num_prompt_tokens == 1


def test_an_answer_is_as_long_as_usual_unless_it_must_be_shorter() -> None:
    assert size_of([TextPrompt("x")], None).num_answer_tokens == USUAL_ANSWER_TOKENS
    assert size_of([TextPrompt("x")], 10).num_answer_tokens == 10
    assert size_of([TextPrompt("x")], 100_000).num_answer_tokens == USUAL_ANSWER_TOKENS
    assert size_of([TextPrompt("x")] * 3, 10).num_answer_tokens == 30


def test_a_conversation_that_goes_on_is_known_by_its_beginning() -> None:
    first = size_of([ChatPrompt(says("a" * 80, "b" * 80))], None)
    later = size_of([ChatPrompt(says("a" * 80, "b" * 80, "c" * 80))], None)
    assert later.beginnings[:2] == first.beginnings
    assert [num_tokens for _, num_tokens in later.beginnings] == [20, 40, 60]


def test_other_words_other_roles_and_other_tools_are_another_conversation() -> None:
    known = dict(size_of([ChatPrompt(says("a", "b"))], None).beginnings)
    for other in (
        ChatPrompt(says("x", "b")),
        ChatPrompt([{"role": "system", "content": "a"}]),
        ChatPrompt(says("a", "b"), tools=[{"name": "f"}]),
    ):
        assert not known.keys() & dict(size_of([other], None).beginnings).keys()


def test_a_message_that_calls_tools_counts_its_calls() -> None:
    calls = [{"function": {"name": "look", "arguments": {"where": "here"}}}]
    called: list[PromptMessage] = [{"role": "assistant", "content": None, "tool_calls": calls}]
    assert (
        size_of([ChatPrompt(called)], None).num_prompt_tokens > size_of([ChatPrompt(says(""))], None).num_prompt_tokens
    )


def test_parts_count_as_the_text_that_they_come_to() -> None:
    parts: list[PromptMessage] = [{"role": "user", "content": [TextPart("x" * 40), TextPart("y" * 40)]}]
    assert size_of([ChatPrompt(parts)], None) == size_of([ChatPrompt(says("x" * 40 + "\n" + "y" * 40))], None)
