import numpy as np
import pytest

from backends.constraints.compiler import ConstraintCompiler
from backends.constraints.grammar import AnswerGrammar
from backends.output import formats
from backends.output.formats import OutputFormat, Thinking
from backends.output.grammar import answer_opening, tool_grammar
from backends.wire.request import Constraint, ConstraintKind, ToolChoice, ToolUse
from tests.backends.constraints.conftest import ByteTokenizer, matcher_of, matches
from tests.backends.output.answer_cases import FORMATS, TOOLS, parse

NUMBER = Constraint(ConstraintKind.REGEX, "[0-9]+", "regex")
NOW = ToolUse(TOOLS, choice=ToolChoice.REQUIRED, named="now")
CALL = '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>'
HARMONY = FORMATS["harmony"]
HARMONY_THOUGHT = "<|channel|>analysis<|message|>hm<|end|><|start|>assistant"
HARMONY_CALL = "<|channel|>commentary to=functions.now <|constrain|>json<|message|>{}"


@pytest.fixture(scope="module")
def compiler() -> ConstraintCompiler:
    return ConstraintCompiler(ByteTokenizer())


def grammar_of(
    fmt: OutputFormat, thinking: Thinking, *, has_text: bool = True, has_calls: bool = False
) -> AnswerGrammar:
    calls = Constraint(ConstraintKind.LARK, tool_grammar(fmt, NOW), "tools") if has_calls else None
    return AnswerGrammar(NUMBER if has_text else None, calls, answer_opening(fmt, thinking))


@pytest.mark.parametrize(
    ("thinking", "answers", "others"),
    [
        (Thinking.OVER, ["12"], ["<think>a</think>12", "a</think>12"]),
        (Thinking.POSSIBLE, ["12", "<think>\na\n</think>\n\n12"], ["a</think>12", "<think>12", "a12"]),
        (Thinking.OPEN, ["a {é}\n</think>\n\n12", "</think>12"], ["12", "a</think>b</think>12"]),
    ],
)
def test_thinking_comes_first_as_the_prompt_has_left_it(
    compiler: ConstraintCompiler, thinking: Thinking, answers: list[str], others: list[str]
) -> None:
    matcher = matcher_of(compiler, grammar_of(FORMATS["hermes"], thinking))
    assert [answer for answer in answers if not matches(matcher, answer)] == []
    assert [other for other in others if matches(matcher, other)] == []


def test_a_tag_that_is_a_control_token_opens_and_closes_as_such(compiler: ConstraintCompiler) -> None:
    control_ids = {"<think>": 256, "</think>": 257}
    fmt = formats.detect_format("<think> </think>", control_ids)
    opening = answer_opening(fmt, Thinking.POSSIBLE)
    matcher = matcher_of(compiler, AnswerGrammar(NUMBER, opening=opening))
    assert matches(matcher, [256, *b"hm", 257, *b"\n12"])
    assert not matches(matcher, [256, *b"hm</think>12"])
    assert matches(matcher, "12")


@pytest.mark.parametrize("thought", ["", "<think>\nhm\n</think>\n\n"])
def test_text_or_a_call_may_follow_where_there_is_a_choice(compiler: ConstraintCompiler, thought: str) -> None:
    matcher = matcher_of(compiler, grammar_of(FORMATS["hermes"], Thinking.POSSIBLE, has_calls=True))
    assert matches(matcher, f"{thought}12")
    assert matches(matcher, f"{thought}{CALL}")
    assert not matches(matcher, f"{thought}{CALL}12")
    parsed = parse(FORMATS["hermes"], thought + CALL)
    assert parsed.calls == [("now", "{}")]
    assert parsed.reasoning.strip() == ("hm" if thought else "")


@pytest.mark.parametrize("thought", ["", HARMONY_THOUGHT])
def test_harmony_puts_text_on_the_final_channel_and_calls_on_theirs(compiler: ConstraintCompiler, thought: str) -> None:
    matcher = matcher_of(compiler, grammar_of(HARMONY, Thinking.POSSIBLE, has_calls=True))
    answer = f"{thought}<|channel|>final<|message|>12"
    assert matches(matcher, answer)
    assert matches(matcher, thought + HARMONY_CALL)
    assert not matches(matcher, f"{thought}12")
    assert parse(HARMONY, answer).text == "12"
    assert parse(HARMONY, thought + HARMONY_CALL).calls == [("now", "{}")]


@pytest.mark.parametrize("family", sorted(FORMATS))
def test_every_family_can_think_before_a_call_that_is_required(compiler: ConstraintCompiler, family: str) -> None:
    fmt = FORMATS[family]
    thinking = fmt.thinking_after("assistant: ")
    matcher = matcher_of(compiler, grammar_of(fmt, thinking, has_text=False, has_calls=True))
    thought = HARMONY_THOUGHT
    if fmt is not HARMONY:
        thought = "" if fmt.reasoning is None else f"{fmt.reasoning.open}hm{fmt.reasoning.close}"
    for token_id in thought.encode():
        logits = np.zeros(259, np.float32)
        matcher.mask(logits)
        assert np.isfinite(logits[token_id])
        matcher.accept(token_id)
    assert not matcher.is_complete
