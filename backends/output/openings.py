"""What a model may write before an answer that is held to a grammar: its thinking, and the head of its message.

A grammar that forbids it would make a model answer without the thinking that it was trained to begin with.
"""

from collections.abc import Mapping

from backends.output.formats import OutputFormat, Thinking
from backends.output.harmony import HarmonySyntax
from backends.output.lark import Lark

_NOTHING = '""'
_BLANKS = "BLANKS: /[ \\t\\r\\n]{1,8}/"


def answer_opening(fmt: OutputFormat, control_ids: Mapping[str, int], thinking: Thinking) -> str | None:
    """Return Lark rules for what comes before a constrained answer.

    Args:
        control_ids: Text of each control token -> its id.

    Returns:
        The rules `opening`, before calls as well as before text, and `head`, after it and before text only; None where
        nothing comes before either.
    """
    lark = Lark({text: control_ids[text] for text in sorted(fmt.visible_control_texts) if text in control_ids})
    if isinstance(fmt.tools, HarmonySyntax):
        syntax = fmt.tools
        analysis = lark.literal(f"{syntax.channel}analysis{syntax.message}")
        lark.define("opening", f"({analysis} {lark.until(syntax.end)} {lark.literal(syntax.start + 'assistant')})?")
        lark.define("head", lark.literal(f"{syntax.channel}final{syntax.message}"))
        return lark.text()
    if fmt.reasoning is None or thinking is Thinking.OVER:
        return None
    thoughts = f"{lark.until(fmt.reasoning.close)} BLANKS?"
    if thinking is Thinking.POSSIBLE:
        thoughts = f"({lark.literal(fmt.reasoning.open)} {thoughts})?"
    lark.define("opening", thoughts)
    lark.define("head", _NOTHING)
    return f"{lark.text()}{_BLANKS}\n"
