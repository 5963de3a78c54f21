"""Time to first token of the later turns of a chat, against llama-server on a warm slot.

    python tests/bench/bench_turns.py [--rounds 2] [--turns 6] [--tokens 48] [--no-session]

Both servers run all the time. A round is one chat with each of them, in the order A B, B A and so on; every chat begins
with words of its own. An answer goes into the next turn as the server gave it. llama-server is told to stay in one
slot and to keep its prompt, mlxr gets the chat's name in `X-Session-Id`. pytest does not collect it.
"""

import argparse
import asyncio
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.bench.support.pairs import OURS, THEIRS, Pair, llama_pair, parser_for
from tests.bench.support.prompts import questions, words
from tests.bench.support.report import in_turns, machine_watch, print_ratio, shown
from tests.bench.support.streams import Answer, chat_body, stream_chat

NUM_SLOTS = 4
CONTEXT_LENGTH = 2048


def chat(pair: Pair, side: str, index: int, arguments: argparse.Namespace) -> list[Answer]:
    """Hold one chat and return the answers of its turns."""
    url, model = pair.sides[side]
    wish: dict[str, Any] = {"ignore_eos": True}
    headers: dict[str, str] = {}
    if side == THEIRS:
        wish |= {"cache_prompt": True, "id_slot": 0}
    elif not arguments.no_session:
        headers["X-Session-Id"] = f"chat-{index}"
    messages = [{"role": "system", "content": f"{words(arguments.seed + index, 60)}. Answer with care."}]
    answers = []
    for number, question in enumerate(questions(arguments.turns)):
        content = f"{question} Think of {words(arguments.seed + 100 * index + number, 12)}."
        messages.append({"role": "user", "content": content})
        body = chat_body(model, messages, arguments.tokens, **wish)
        answers.append(asyncio.run(stream_chat(url, body, headers=headers)))
        messages.append({"role": "assistant", "content": answers[-1].text})
    return answers


def measure(pair: Pair, arguments: argparse.Namespace) -> None:
    """Run the rounds; print each turn and the ratios."""
    times_s: dict[str, list[list[float]]] = {OURS: [], THEIRS: []}
    for side in times_s:
        chat(pair, side, arguments.rounds, argparse.Namespace(**{**vars(arguments), "turns": 1}))
    for index, side in in_turns(list(times_s), arguments.rounds):
        answers = chat(pair, side, index, arguments)
        times_s[side].append([answer.ttft_s for answer in answers])
        turns = ", ".join(f"{a.ttft_s * 1000:.0f} ms ({a.num_cached_tokens}/{a.num_prompt_tokens})" for a in answers)
        print(f"{side}: TTFT (cached/prompt tokens) {turns}", flush=True)
    for turn in range(1, arguments.turns):
        ours, theirs = ([times[turn] for times in times_s[side]] for side in (OURS, THEIRS))
        print_ratio(f"TTFT of turn {turn + 1}, {OURS} / {THEIRS}", ours, theirs, at_most=1.1)
    ours, theirs = ([value for times in times_s[side] for value in times[1:]] for side in (OURS, THEIRS))
    for side, values in ((OURS, ours), (THEIRS, theirs)):
        print(f"{side}: TTFT of turns 2 to {arguments.turns} {shown(values, 's', 3)}")
    print_ratio(f"TTFT of turns 2 to {arguments.turns}, {OURS} / {THEIRS}", ours, theirs, at_most=1.1)


def main() -> None:
    parser = parser_for(__doc__, rounds=2)
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--no-session", action="store_true", help="send no X-Session-Id to mlxr")
    arguments = parser.parse_args()
    with machine_watch(), llama_pair(arguments, num_slots=NUM_SLOTS, context_length=CONTEXT_LENGTH) as pair:
        measure(pair, arguments)


if __name__ == "__main__":
    main()
