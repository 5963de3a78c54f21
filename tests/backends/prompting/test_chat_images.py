"""Pictures of a conversation stand where its template shows them, in every role and turn."""

from typing import Any

import pytest

from backends.errors import UnsupportedByModelError
from backends.fake.tokenizer import FakeTokenizer
from backends.prompting.image_places import ContentForms, probe_forms
from backends.prompting.renderer import ChatRenderer, Rendered
from backends.sequence import Tile
from backends.wire.prompts import ChatPrompt, ImagePart, PromptMessage, images_in
from tests.support.image_templates import GEMMA, LLAVA, QWEN, SMOLVLM, STRINGS, TEMPLATES, facts_of, part, says, shown

A, B, C = part("a"), part("b"), part("c")
NAMES = {shown([each])[each].tiles[0].digest: each.data.decode().upper() for each in (A, B, C)}


class Tokenizer(FakeTokenizer):
    def __init__(self, template: str) -> None:
        self.chat_template = template


def rendered(template: str, messages: list[PromptMessage], family: str = "qwen2_vl", **fields: Any) -> Rendered:
    facts = facts_of(family)
    renderer = ChatRenderer(Tokenizer(template), facts)
    return renderer.render(ChatPrompt(messages, **fields), shown(images_in(messages)))


def prompt_of(template: str, messages: list[PromptMessage], family: str = "qwen2_vl", **fields: Any) -> str:
    """Return the prompt as text, a letter for each picture's rows."""
    pieces = rendered(template, messages, family, **fields).pieces
    return "".join(NAMES[piece.digest] if isinstance(piece, Tile) else piece.text for piece in pieces)


def forms_of(template: str, family: str) -> ContentForms:
    return probe_forms(ChatRenderer(Tokenizer(template))._template.render, facts_of(family).written)


@pytest.mark.parametrize(
    ("template", "family", "takes_strings", "typed_roles"),
    [
        (QWEN, "qwen2_vl", True, {"system", "user", "assistant", "tool"}),
        (SMOLVLM, "idefics3", False, {"system", "user", "assistant"}),
        (LLAVA, "llava", False, {"system", "user", "assistant"}),
        (GEMMA, "gemma3", True, {"user", "assistant"}),
        (STRINGS, "llava", True, set()),
    ],
)
def test_what_a_template_takes_is_seen_by_asking_it(
    template: str, family: str, *, takes_strings: bool, typed_roles: set[str]
) -> None:
    forms = forms_of(template, family)
    assert forms.takes_strings is takes_strings
    assert forms.typed_roles - {"tool"} == typed_roles - {"tool"}


def test_a_template_that_walks_parts_writes_pictures_in_its_own_way() -> None:
    messages = [says("user", "What is ", A, "this?")]
    assert prompt_of(QWEN, messages).endswith("<|im_start|>user\nWhat is (A)this?<|im_end|>\n<|im_start|>assistant\n")
    assert "User: What is (A)this?<end_of_utterance>" in prompt_of(SMOLVLM, messages, "idefics3")
    assert "User:(A)hm<end_of_utterance>" in prompt_of(SMOLVLM, [says("user", A, "hm")], "idefics3")
    assert "user\n(A)\nWhat is this?<|im_end|>" in prompt_of(LLAVA, messages, "llava")
    assert "user\nWhat is(A)this?<end_of_turn>" in prompt_of(GEMMA, messages, "gemma3")


@pytest.mark.parametrize(
    ("content", "shown_as"),
    [
        ((A, "what is it?"), "(A)\nwhat is it?"),
        (("what is it?", A), "what is it?\n(A)"),
        (("\nwhat is it?\n", A), "what is it?\n(A)"),
        ((A, "\nx\n", B), "(A)\nx\n(B)"),
        ((A,), "(A)"),
        ((A, B), "(A)\n(B)"),
        ((A, B, "both?"), "(A)\n(B)\nboth?"),
        (("here ", A, ", there ", B, "."), "here (A), there (B)."),
        ((C, "here ", A, B, " there", C), "(C)\nhere (A)(B) there\n(C)"),
    ],
)
def test_one_that_wants_texts_has_pictures_beside_words_on_lines_of_their_own(
    content: tuple[str | ImagePart, ...], shown_as: str
) -> None:
    assert f"user\n{shown_as}<|im_end|>" in prompt_of(STRINGS, [says("user", *content)], "llava")


@pytest.mark.parametrize("family", TEMPLATES)
@pytest.mark.parametrize("is_own", [True, False])
def test_pictures_keep_their_order_in_every_role_and_turn(family: str, *, is_own: bool) -> None:
    template = TEMPLATES[family] if is_own else STRINGS
    messages = [
        says("system", "Rules: ", A),
        says("user", "one", B),
        says("assistant", "two", C),
        says("user", "three"),
    ]
    text = prompt_of(template, messages, family)
    places = [text.index(each) for each in ("(A)", "(B)", "(C)")]
    assert places == sorted(places)
    assert all(word in text for word in ("Rules:", "one", "two", "three"))


def test_pictures_go_where_their_message_goes() -> None:
    """Into the user's words where a template takes no late system message, no neighbours, no tools."""
    turns = [
        says("user", "look"),
        says("system", "note", A),
        says("user", "and", B),
        says("assistant", "I call"),
        says("tool", "result", C),
    ]
    text = prompt_of(GEMMA, turns, "gemma3")
    assert text.index("look") < text.index("note") < text.index("(A)") < text.index("and") < text.index("(B)")
    assert text.index("<tool_response>") < text.index("(C)") < text.index("</tool_response>")


def test_a_tools_pictures_stay_where_the_template_knows_tools() -> None:
    template = "{% if tools %}{{ tools | tojson }}{% endif %}" + QWEN
    assert "<|im_start|>tool\nresult(A)<|im_end|>" in prompt_of(
        template, [says("user", "x"), says("tool", "result", A)]
    )


def test_what_users_write_of_picture_tokens_stays_text() -> None:
    words = "<|vision_start|><|image_pad|><|vision_end|> and <image> <start_of_image> <__media__>"
    for template, family in ((QWEN, "qwen2_vl"), (STRINGS, "llava"), (SMOLVLM, "idefics3"), (GEMMA, "gemma3")):
        result = rendered(template, [says("user", words, A, words)], family)
        text = "".join("" if isinstance(piece, Tile) else piece.text for piece in result.pieces)
        assert text.count(words) == 2
        assert sum(isinstance(piece, Tile) for piece in result.pieces) == 1
        literal = "".join(piece.text for piece in result.pieces if not isinstance(piece, Tile) and piece.is_literal)
        for token in facts_of(family).reserved & {"<image>", "<|image_pad|>", "<start_of_image>"}:
            assert literal.count(token) == 2


def test_places_cannot_be_forged() -> None:
    words = "".join(f"{chr(code)}0{chr(code)}" for code in range(0xFDD0, 0xFDE0))
    assert prompt_of(STRINGS, [says("user", words, A)], "llava").count("(A)") == 1
    assert words in prompt_of(STRINGS, [says("user", words)], "llava")


def test_control_tokens_count_beside_pictures_where_they_are_allowed() -> None:
    result = rendered(QWEN, [says("user", "<|im_end|><|image_pad|>", A)], allows_control_tokens=True)
    assert not any(not isinstance(piece, Tile) and piece.is_literal for piece in result.pieces)
    assert sum(isinstance(piece, Tile) for piece in result.pieces) == 1


def test_a_text_is_shown_also_by_a_template_that_takes_parts_only() -> None:
    for facts in (None, facts_of("idefics3")):
        text = ChatRenderer(Tokenizer(SMOLVLM), facts).render(ChatPrompt([{"role": "user", "content": "hi"}])).text
        assert text == "<|im_start|>User: hi<end_of_utterance>\nAssistant:"


def test_what_people_are_shown_has_what_the_template_writes() -> None:
    messages = [says("user", "a<image>", A)]
    renderer = ChatRenderer(Tokenizer(SMOLVLM), facts_of("idefics3"))
    assert "User: a<image><image><end_of_utterance>" in renderer.render(ChatPrompt(messages)).text
    assert rendered(SMOLVLM, messages, "idefics3").text == renderer.render(ChatPrompt(messages)).text


def test_a_model_without_a_tower_refuses_the_first_picture_by_its_field() -> None:
    with pytest.raises(UnsupportedByModelError, match="param of a: the loaded model does not see") as caught:
        ChatRenderer(Tokenizer(QWEN)).render(ChatPrompt([says("user", "x", A, B)]))
    assert caught.value.param == "param of a"


def test_a_template_that_hides_a_picture_is_refused() -> None:
    template = "{% for m in messages %}{% if loop.last %}{{ m.content }}{% endif %}{% endfor %}"
    with pytest.raises(UnsupportedByModelError, match=r"param of a: .* does not show") as caught:
        rendered(template, [says("user", A), says("assistant", "x"), says("user", B)])
    assert caught.value.param == "param of a"


def test_one_that_hides_parts_of_earlier_turns_has_them_as_texts() -> None:
    template = (
        "{% for m in messages %}{% if m.content is string %}{{ m.content }}{% elif loop.last %}{% for c in m.content %}"
        "{% if c.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ c.text }}{% endif %}"
        "{% endfor %}{% endif %}|{% endfor %}"
    )
    assert prompt_of(template, [says("user", "a", B)]) == "a(B)|"
    turns = [says("user", "a", A), says("assistant", "x"), says("user", "b", B)]
    assert prompt_of(template, turns) == "a\n(A)|x|b\n(B)|"


def test_an_answer_that_was_begun_stands_behind_pictures() -> None:
    assert prompt_of(QWEN, [says("user", A, "x")], continuation="Sure").endswith("assistant\nSure")


def test_pictures_of_a_later_exchange_stand_behind_it() -> None:
    text = prompt_of(QWEN, [says("user", "more ", B)], context_ids=[1, 2])
    assert text == "<|im_end|>\n<|im_start|>user\nmore (B)<|im_end|>\n<|im_start|>assistant\n"


def test_the_same_turns_give_the_same_beginning_whatever_follows() -> None:
    turns = [says("user", "one", A), says("assistant", "two"), says("user", "three", B), says("assistant", "four")]
    for template, family in ((QWEN, "qwen2_vl"), (SMOLVLM, "idefics3"), (GEMMA, "gemma3"), (STRINGS, "llava")):
        first = prompt_of(template, turns[:2], family, opens_turn=False)
        assert prompt_of(template, turns, family, opens_turn=False).startswith(first)
