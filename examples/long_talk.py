"""long-talk: a conversation that goes on past its context, because its older turns are told again.

The model is loaded with a small context, so that it fills soon (`X-Mlxr-Load`), and `X-Mlxr-Context: wind` says what is
to become of that. The client sends its whole history each time, as clients do. `mlxr bench MODEL --scenarios long-talk`
measures what a model recalls at the end; here it is told, and not judged.
"""

from typing import Any
from urllib.parse import quote

import msgspec
from msgspec import UNSET

from examples.stage.scenario import Scenario, Stage
from examples.stage.server import Answer, Message, Server
from router.bench.plan.talks import TALK_SYSTEM, Talk, talk_of

CONTEXT_LENGTH = 768
NUM_TURNS = 14
FILLER_CHARS = 200
ANSWER_TOKENS = 16
NUM_QUESTIONS = 2
WIND = {"X-Mlxr-Context": "wind"}


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """A turn of the talk, and what of it the model was shown; tokens.

    Attributes:
        used: Of the context; None = the answer does not say.
        id: Of what was told again of the talk; None = nothing was.
        told: Messages that a narrative stands for.
        left_out: Whether nobody could summarise them in time, so that they are missing.
        before: What they and the others had.
        after: What the prompt had instead.
        wind_ms: What telling took; 0 = it was done before.
    """

    turn: int
    used: int | None = None
    limit: int | None = None
    id: str | None = None
    told: int = 0
    left_out: bool = False
    before: int | None = None
    after: int | None = None
    wind_ms: float | None = None


def run(stage: Stage) -> None:
    """Talk, ask for what was said, and look at what the model was shown of it all."""
    server = Server(stage.server.client, stage.model, f"context_length={CONTEXT_LENGTH}, workers=1")
    talk = talk_of(seed=stage.seed, round_number=1, num_turns=NUM_TURNS, filler_chars=FILLER_CHARS)
    messages: list[Message] = [{"role": "system", "content": TALK_SYSTEM}]
    turns: list[Turn] = []
    for number, said in enumerate(talk.turns, 1):
        messages.append({"role": "user", "content": said})
        answer = server.ask(messages, headers=WIND, max_tokens=ANSWER_TOKENS)
        messages.append({"role": "assistant", "content": answer.text})
        turns.append(turn_of(number, answer))
        tell_turn(stage, turns[-1])
    ids = list(dict.fromkeys(turn.id for turn in turns if turn.id is not None))
    recalls = ask_for_facts(stage, server, messages, talk)
    history_tokens = sum(len(message["content"]) for message in messages) * _tokens_per_char(turns, messages)
    stage.figures |= {"turns": turns, "contexts": ids, "recall": recalls, "history_tokens": round(history_tokens)}
    check(stage, turns, ids, history_tokens)
    if ids:
        stage.server.client.delete(f"/v1/mlxr/contexts/{quote(ids[-1], safe='')}", dict[str, Any])


def turn_of(number: int, answer: Answer) -> Turn:
    """Return what an answer says of its context."""
    context = answer.timings.context
    if context is UNSET:
        return Turn(turn=number)
    turn = Turn(turn=number, used=context.used, limit=context.limit, id=None if context.id is UNSET else context.id)
    if context.wound is UNSET:
        return turn
    wound = context.wound
    return msgspec.structs.replace(
        turn,
        told=wound.turns,
        left_out=wound.left_out is True,
        before=wound.tokens_before,
        after=wound.tokens_after,
        wind_ms=wound.ms,
    )


def tell_turn(stage: Stage, turn: Turn) -> None:
    """Say how full the context is, and what was told again."""
    what = "left out, for nobody could summarise them" if turn.left_out else "summarised"
    wound = f"; {turn.told} messages are {what}, {turn.before} tokens became {turn.after}" if turn.told else ""
    stage.say(f"[turn {turn.turn}] {turn.used} of {turn.limit} tokens{wound}")


def ask_for_facts(stage: Stage, server: Server, messages: list[Message], talk: Talk) -> dict[str, str]:
    """Ask for some of what the user told, each behind the same talk; return what came of each."""
    recalls: dict[str, str] = {}
    for fact in talk.facts[:NUM_QUESTIONS]:
        asked = [*messages, {"role": "user", "content": fact.question}]
        answer = server.ask(asked, headers=WIND, max_tokens=ANSWER_TOKENS)
        recalls[fact.key] = fact.recall(answer.text)
        stage.say(f"> {fact.question} ({fact.values[-1]})\n{answer.text.strip()} [{recalls[fact.key]}]")
    return recalls


def check(stage: Stage, turns: list[Turn], ids: list[str], history_tokens: float) -> None:
    """Check that the talk went on past its context, and within it."""
    limit = turns[0].limit or 0
    stage.check("each turn was answered", len(turns) == NUM_TURNS, f"{len(turns)} turns")
    within = [turn.used is not None and turn.used <= limit for turn in turns]
    stage.check("the model was never shown more than it holds", all(within), f"at most {limit} tokens")
    stage.check("the talk is longer than that", history_tokens > limit, f"about {history_tokens:.0f} tokens")
    if not stage.check("its older turns gave way", bool(ids), f"{len(ids)} times"):
        return
    shown = stage.server.client.get(f"/v1/mlxr/contexts/{quote(ids[-1], safe='')}", dict[str, Any])
    narrative = str(shown.get("narrative") or "")
    stage.say(f"[Narrative] {narrative or 'there is none'}")
    stage.figures["narrative"] = narrative
    stage.check(
        "what was told can be looked at, and what was not is said to be missing",
        bool(narrative) or turns[-1].left_out,
        f"{len(narrative)} characters",
    )


def _tokens_per_char(turns: list[Turn], messages: list[Message]) -> float:
    """Return how many tokens a character has, by the first turn, of which nothing was told yet."""
    first = sum(len(message["content"]) for message in messages[:3])
    return (turns[0].used or 0) / first


SCENARIO = Scenario("long-talk", "A conversation past its context: its older turns are told again.", run)
