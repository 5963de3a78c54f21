"""What pictures cost a chat, what a tower costs those who show none, and what an encoding costs running streams.

    python tests/bench/bench_images.py [--part chat|text|beside] [--rounds 5] [--turns 20] [--pictures 5] [--size WxH]

`chat`: a chat with pictures beside one with as many tokens of text; time to first token of the last turn, which is
asked in every round with another question. Both chats are the same text from turn to turn, with a picture or as many
digits in every fourth one. `text`: one text, with a projector loaded and with `vision: off`. `beside`: a stream
alone, beside requests with a new picture each, and beside such of as many tokens of text. All with random vision models
of about 1 MB (the tower's share is far smaller than a real one's), on both engines; on llamacpp also with the bundled
model and a tower that tells colours. Sides take turns: A B, B A. pytest does not collect it.
"""

import argparse
import asyncio
import base64
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from router.bench.plan.pictures import picture_png
from router.bench.plan.texts import generator, label
from tests.bench.support.models import bundled_gguf
from tests.bench.support.prompts import words
from tests.bench.support.report import in_turns, machine_watch, print_ratio, quantile, shown
from tests.bench.support.servers import gateway_with, physical_cores
from tests.bench.support.streams import Answer, chat_body, stream_chat
from tests.support.colour_model import write_colour_model
from tests.support.gateway_process import GatewayProcess
from tests.support.tiny_vision import write_vision_model

Part = dict[str, Any]
TARGET = 1.2
EVERY = 4
"""Turns from one picture to the next."""
COLOURS = "colours"
TINY = ("llava", "qwen2_vl")
CONTEXT_LENGTH = 1024
STREAM_TOKENS = 300
NUM_OTHERS = 40
"""Requests that are ready to be sent beside a stream; made before, because making pictures would hold up the client."""

ASKED: Part = {"type": "text", "text": "What is it?"}


class Server(NamedTuple):
    """A gateway with models that see.

    Attributes:
        models: What is measured, each as `NAME@ENGINE`.
    """

    gateway: GatewayProcess
    models: tuple[str, ...]

    def ask(self, model: str, content: Any, max_tokens: int = 4, headers: dict[str, str] | None = None) -> Answer:
        return self.chat(model, [{"role": "user", "content": content}], max_tokens, headers)

    def chat(
        self, model: str, messages: list[Any], max_tokens: int = 4, headers: dict[str, str] | None = None
    ) -> Answer:
        body = chat_body(model, messages, max_tokens, ignore_eos=True)
        return asyncio.run(stream_chat(self.gateway.url, body, headers=headers))

    @property
    def cpu_s(self) -> float:
        """What gateway and workers have computed so far, which says more than the clock on a busy machine."""
        gateway = psutil.Process(self.gateway.process.pid)
        times = [process.cpu_times() for process in (gateway, *gateway.children(recursive=True))]
        return float(sum(each.user + each.system for each in times))


@contextmanager
def server(arguments: argparse.Namespace) -> Iterator[Server]:
    """Run a gateway with the tiny models of both engines, and the bundled one that tells colours on llamacpp."""
    with tempfile.TemporaryDirectory() as folder:
        tiny = {family: write_vision_model(Path(folder, family), family) for family in TINY}
        files = {family: [model.text_gguf, model.folder] for family, model in tiny.items()}
        colours = write_colour_model(Path(folder, COLOURS), bundled_gguf())
        # A projector is found beside its model.
        text = Path(folder, COLOURS, "text.gguf")
        text.symlink_to(colours.text_gguf)
        names = [f"{family}@{engine}" for family in TINY for engine in ("llamacpp", "mlx")]
        generation = {"parallel": 4, "context_length": CONTEXT_LENGTH}
        llamacpp = {"threads": arguments.threads, "kv_cells": 4 * CONTEXT_LENGTH}
        config = {"generation": generation, "llamacpp": llamacpp}
        with gateway_with(files | {COLOURS: [text]}, config) as gateway:
            yield Server(gateway, (*names, f"{COLOURS}@llamacpp"))


def picture(seed: str, size: tuple[int, int]) -> Part:
    """Return a picture that no other seed gives, as a part of a message."""
    data = base64.b64encode(picture_png(generator(seed), *size)).decode()
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}


def digits(seed: str, number: int) -> str:
    """Return so many tokens of text: all models here have a token for each digit."""
    draw = generator(seed)
    return "".join(draw.choice("0123456789") for _ in range(number))


def num_picture_tokens(at: Server, model: str, size: tuple[int, int]) -> int:
    """Return how many more tokens a prompt with a picture has."""
    with_picture = at.ask(model, [picture("count", size), ASKED]).num_prompt_tokens
    without = at.ask(model, ASKED["text"]).num_prompt_tokens
    assert with_picture is not None
    assert without is not None
    return with_picture - without


# ---- a long chat -----------------------------------------------------------------------------------------------------


class Chat(NamedTuple):
    """A chat that was held up to its last turn but one.

    Attributes:
        messages: Of which each begins what comes next.
        new_s: Times to first token of the turns with a new picture.
    """

    messages: list[Any]
    new_s: list[float]


def long_chat(at: Server, model: str, name: str, num_tokens: int | None, arguments: argparse.Namespace) -> Chat:
    """Hold a chat.

    Args:
        name: What it begins with.
        num_tokens: Digits in the place of each picture; None = pictures.
    """
    chat = Chat([], [])
    for turn in range(arguments.turns - 1):
        begin, seed = f"{name} {turn}: " if turn == 0 else f"{turn}: ", f"{name} {turn}"
        is_shown = turn % EVERY == 0 and turn // EVERY < arguments.pictures
        content: Any = f"{begin}{digits(seed, num_tokens or 0) if is_shown else ''}?"
        if is_shown and num_tokens is None:
            before, after = ({"type": "text", "text": text} for text in (begin, "?"))
            content = [before, picture(seed, arguments.size), after]
        chat.messages.append({"role": "user", "content": content})
        answer = at.chat(model, chat.messages)
        if is_shown:
            chat.new_s.append(answer.ttft_s)
        chat.messages.append({"role": "assistant", "content": "ok."})
    return chat


def measure_chats(at: Server, arguments: argparse.Namespace) -> None:
    """Hold both chats, then ask their last turns in turns, each with another question."""
    for model in at.models:
        num_tokens = num_picture_tokens(at, model, arguments.size)
        chats = {
            side: long_chat(at, model, label(generator(arguments.seed, model, side)), number, arguments)
            for side, number in (("pictures", None), ("text", num_tokens))
        }
        lasts: dict[str, list[Answer]] = {side: [] for side in chats}
        cpu_s: dict[str, list[float]] = {side: [] for side in chats}
        for index, side in in_turns(list(chats), arguments.rounds):
            # Twice, because a worker may have room for one of both chats only; the second time counts.
            for number in (10 + index, 60 + index):
                question, before_s = {"role": "user", "content": f"{arguments.turns - 1}: {number}?"}, at.cpu_s
                answer = at.chat(model, [*chats[side].messages, question])
            lasts[side].append(answer)
            cpu_s[side].append(at.cpu_s - before_s)
        print(f"{model}: {arguments.turns} turns, {arguments.pictures} pictures of {num_tokens} tokens each")
        for side, answers in lasts.items():
            times = shown([1000 * answer.ttft_s for answer in answers], "ms", 1)
            least = min(answer.num_cached_tokens or 0 for answer in answers)
            counts = f"at least {least} of {answers[-1].num_prompt_tokens} tokens cached"
            cpu = f"{1000 * statistics.mean(cpu_s[side]):.1f} ms of CPU in the mean"
            print(f"  {side}: TTFT of the last turn {times}; {cpu}; {counts}")
        pictures_s, text_s = ([answer.ttft_s for answer in lasts[side]] for side in ("pictures", "text"))
        print_ratio(f"  {model}: TTFT of the last turn, pictures / text", pictures_s, text_s, at_most=TARGET)
        print(
            f"  a turn with a new picture: TTFT {shown([1000 * s for s in chats['pictures'].new_s], 'ms', 1)}",
            flush=True,
        )


# ---- text with a tower loaded ----------------------------------------------------------------------------------------


def measure_text(at: Server, arguments: argparse.Namespace) -> None:
    for model in at.models:
        ttft_s: dict[str, list[float]] = {"on": [], "off": []}
        token_s: dict[str, list[float]] = {"on": [], "off": []}
        cpu_s: dict[str, list[float]] = {"on": [], "off": []}
        for index, mode in in_turns(list(ttft_s), arguments.rounds):
            load = {"X-Mlxr-Load": f"vision={mode}"}
            at.ask(model, "Hello", headers=load)
            texts = [f"{words(100 * index + number, 40)}: go on." for number in range(5)]
            before_s = at.cpu_s
            answers = [at.ask(model, text, 64, load) for text in texts]
            cpu_s[mode].append((at.cpu_s - before_s) / len(texts))
            ttft_s[mode].append(min(answer.ttft_s for answer in answers))
            token_s[mode].append(min(sum(answer.gaps_s) / len(answer.gaps_s) for answer in answers))
        for mode, found in ttft_s.items():
            times = shown([1000 * time for time in found], "ms")
            each, cpu = shown([1000 * s for s in token_s[mode]], "ms", 3), 1000 * statistics.mean(cpu_s[mode])
            print(f"{model}, vision {mode}: TTFT {times}; a token {each}; an answer {cpu:.1f} ms of CPU in the mean")
        print_ratio(f"  {model}: TTFT, with a tower / without", ttft_s["on"], ttft_s["off"])
        print_ratio(f"  {model}: a token, with a tower / without", token_s["on"], token_s["off"])


# ---- an encoding beside a stream -------------------------------------------------------------------------------------


async def stream_beside(at: Server, model: str, contents: list[Any]) -> tuple[Answer, int]:
    """Return a stream's answer, and how many other requests were answered meanwhile, asked one after the other."""
    num_others = 0

    async def ask_others() -> None:
        nonlocal num_others
        for content in contents:
            await stream_chat(at.gateway.url, chat_body(model, [{"role": "user", "content": content}], 1))
            num_others += 1

    messages = [{"role": "user", "content": "Tell a story."}]
    body = chat_body(model, messages, STREAM_TOKENS, ignore_eos=True)
    others = asyncio.create_task(ask_others())
    answer = await stream_chat(at.gateway.url, body)
    others.cancel()
    with suppress(asyncio.CancelledError):
        await others
    return answer, num_others


def contents_for(side: str, seed: str, num_tokens: int, size: tuple[int, int]) -> list[Any]:
    """Return what others ask, each something new."""
    if side == "alone":
        return []
    seeds = [f"{side} {seed} {number}" for number in range(NUM_OTHERS)]
    if side == "beside pictures":
        return [[picture(each, size), ASKED] for each in seeds]
    return [f"{digits(each, num_tokens)}{ASKED['text']}" for each in seeds]


def measure_beside(at: Server, arguments: argparse.Namespace) -> None:
    for model in at.models:
        num_tokens = num_picture_tokens(at, model, arguments.size)
        token_s: dict[str, list[float]] = {"alone": [], "beside pictures": [], "beside text": []}
        gaps_ms: dict[str, list[float]] = {side: [] for side in token_s}
        nums_others: dict[str, int] = dict.fromkeys(token_s, 0)
        for index, side in in_turns(list(token_s), arguments.rounds):
            contents = contents_for(side, f"{model} {index}", num_tokens, arguments.size)
            answer, num_others = asyncio.run(stream_beside(at, model, contents))
            assert answer.ended_at is not None
            token_s[side].append((answer.ended_at - answer.sent_at) / STREAM_TOKENS)
            gaps_ms[side] += [1000 * gap for gap in answer.gaps_s]
            nums_others[side] += num_others
        print(f"{model}: a stream of {STREAM_TOKENS} tokens; a picture has {num_tokens}")
        for side, times in token_s.items():
            rates = shown([1 / time for time in times], "tokens/s", 1)
            gaps = f"gaps p99 {quantile(gaps_ms[side], 0.99):.1f} ms, longest {max(gaps_ms[side]):.1f} ms"
            print(f"  {side}: {rates}; {gaps}; {nums_others[side]} other requests answered")
        print_ratio(f"  {model}: a token, beside pictures / alone", token_s["beside pictures"], token_s["alone"])
        print_ratio(
            f"  {model}: a token, beside pictures / beside text", token_s["beside pictures"], token_s["beside text"]
        )


PARTS = {"chat": measure_chats, "text": measure_text, "beside": measure_beside}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=list(PARTS), help="default: all")
    parser.add_argument("--rounds", type=int, default=5, help="default: 5")
    parser.add_argument("--turns", type=int, default=20, help="default: 20")
    parser.add_argument("--pictures", type=int, default=5, help="default: 5")
    parser.add_argument("--size", type=lambda text: tuple(map(int, text.split("x"))), default=(1024, 768))
    parser.add_argument("--threads", type=int, default=physical_cores(), help="default: the physical cores")
    parser.add_argument("--seed", type=int, default=0, help="decides all texts; default: 0")
    parser.add_argument("--model", help="measure this one alone, as NAME@ENGINE")
    arguments = parser.parse_args()
    with machine_watch(), server(arguments) as at:
        chosen = at._replace(models=(arguments.model,)) if arguments.model else at
        for part in [arguments.part] if arguments.part else PARTS:
            PARTS[part](chosen, arguments)


if __name__ == "__main__":
    main()
