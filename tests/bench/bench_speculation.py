"""What speculation brings and costs: the same requests with drafts and without, by the kind of text and by streams.

    python tests/bench/bench_speculation.py [GGUF] [--mode auto] [--rounds 3] [--tokens 320] [--temperature 0.8]
    python tests/bench/bench_speculation.py --type f32 --draft          (a draft model: the bundled one as Q4_0)
    python tests/bench/bench_speculation.py --layers 120 --tasks story  (a deep tiny model, drafted by its beginning)

Both sides run in this process, on one load of the model and with the worker's own code around it, in the order A B,
B A and so on: a worker that never drafts, and one that may. Only the steps after the first token of all streams are
measured. With one thread, CPU seconds are a measure also where others use the cores; wall seconds stand beside them.
Without a file, the bundled model is quantized to Q4_0, as most models are that people run (it is a Q4_1, whose kernels
take several rows of a step the worst). With --draft a second model drafts as well, the bundled one as Q4_0 where no
file is given: for itself, or, with --type, for the same weights in a larger form, whose steps take longer, as a larger
model's would. With --layers both models are tiny ones (tests/support/tiny_pair.py), whose rows are cheap. pytest does
not collect it.
"""

import argparse
import ctypes
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
import llama_cpp
import msgspec

from backends.base import LoadedEngine
from backends.wire.load import DraftSpec, LoadSpec
from backends.wire.prompts import ChatPrompt
from backends.wire.request import SamplingParams, SpeculationMode
from tests.bench.support.models import bundled_gguf, bundled_mlx
from tests.bench.support.report import Row, in_turns, machine_watch, note
from tests.support.bare_engine import engine_of, load
from tests.support.engine_driver import EngineDriver
from tests.support.tiny_pair import write_pair

SHAPES = {
    "area": ("width, height", "width * height"),
    "perimeter": ("width, height", "2 * (width + height)"),
    "volume": ("width, height, depth", "width * height * depth"),
    "surface": ("width, height, depth", "2 * (width * height + width * depth + height * depth)"),
    "triangle": ("base, height", "base * height / 2"),
    "circle": ("radius", "3.14159 * radius * radius"),
    "circumference": ("radius", "2 * 3.14159 * radius"),
    "sphere": ("radius", "4 * 3.14159 * radius * radius * radius / 3"),
}
CODE = "\n\n".join(
    f"def {name}({args}):\n    total = {value}\n    return total" for name, (args, value) in SHAPES.items()
)
PEOPLE = [("Ada", "London", 36), ("Linus", "Helsinki", 21), ("Grace", "New York", 85), ("Alan", "Wilmslow", 41)]
RECORDS = msgspec.json.format(msgspec.json.encode([{"name": n, "city": c, "age": a} for n, c, a in PEOPLE])).decode()
PASSAGE = (
    "The bridge was opened in 1894 after eight years of work. It was built by five contractors and 432 workers, "
    "and more than 70,000 tons of stone and steel went into it. The towers are 65 metres high and stand on two piers "
    "that were sunk into the bed of the river. Until 1976 the roadway was lifted by steam."
)
WORDS = [
    *("wash the potatoes", "peel them", "slice them thinly", "boil the water", "salt it", "cook the slices"),
    *("drain them", "mash them", "warm the milk", "melt the butter", "stir both in", "season with nutmeg"),
    *("chop the chives", "serve at once"),
]
STEPS = "\n".join(f"{number}. {word}" for number, word in enumerate(WORDS, 1))
TASKS = {
    "code edit": f"Rename the variable total to result in this code and write all of the code again:\n\n{CODE}",
    "list": f"Repeat this list exactly, two times:\n\n{STEPS}",
    "JSON echo": f"Repeat this JSON exactly, without any change:\n\n{RECORDS}",
    "RAG quote": f"Text: {PASSAGE}\n\nQuote all sentences of the text word for word.",
    "story": "Tell me a long story of a fox and a crane who live beside a lake in the mountains.",
}
CONTEXT_LENGTH = 2048
NUM_SLOTS = 8
OFF = "off"
FORMS = {
    "q4_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0,
    "q8_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0,
    "f16": llama_cpp.LLAMA_FTYPE_MOSTLY_F16,
    "f32": llama_cpp.LLAMA_FTYPE_ALL_F32,
}
"""What the bundled model may be written as."""


class Sample(NamedTuple):
    """What the steps after the first token took, per token drawn."""

    cpu_s: float
    wall_s: float
    share_accepted: float
    num_drafted: int
    num_by_model: int
    text: str


def quantized(folder: Path, name: str) -> Path:
    """Write the bundled model in another form."""
    engine_of("llamacpp")  # which takes the library's words
    path = folder / f"bundled.{name}.gguf"
    if path.exists():
        return path
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, params.nthread, params.allow_requantize = FORMS[name], 1, True
    status = llama_cpp.llama_model_quantize(str(bundled_gguf()).encode(), str(path).encode(), ctypes.byref(params))
    assert status == 0, status
    return path


class Side:
    """A worker of its own around the engine, which goes on learning from one request to the next."""

    def __init__(self, engine: LoadedEngine, mode: SpeculationMode) -> None:
        self.engine = engine
        self.driver = EngineDriver(engine)
        self.mode = mode

    def measure(self, text: str, num_streams: int, arguments: argparse.Namespace, seed: int) -> Sample:
        driver = self.driver
        temperature = arguments.temperature
        ids = [
            driver.submit(
                ChatPrompt([{"role": "user", "content": text}]),
                SamplingParams(temperature=temperature, top_p=0.95 if temperature else 1.0, seed=seed + number),
                max_tokens=arguments.tokens,
                speculation=self.mode,
            )
            for number in range(num_streams)
        ]
        sequences = [driver.worker._answers[sequence_id].sequence for sequence_id in ids]
        driver.step_until(lambda: all(sequence.num_output_tokens for sequence in sequences))
        num_before = sum(sequence.num_output_tokens for sequence in sequences)
        cpu_s, wall_s = time.process_time(), time.monotonic()
        driver.run()
        cpu_s, wall_s = time.process_time() - cpu_s, time.monotonic() - wall_s
        num_tokens = sum(sequence.num_output_tokens for sequence in sequences) - num_before
        num_drafted = sum(sequence.num_drafted for sequence in sequences)
        num_accepted = sum(sequence.num_accepted for sequence in sequences)
        share = num_accepted / num_drafted if num_drafted else 0.0
        num_tokens = max(1, num_tokens)
        by_model = sum(sequence.num_drafted_by_model for sequence in sequences)
        text = driver.answers[ids[0]].text
        return Sample(cpu_s / num_tokens, wall_s / num_tokens, share, num_drafted, by_model, text)


def measure(engine: LoadedEngine, arguments: argparse.Namespace) -> None:
    sides = {OFF: Side(engine, SpeculationMode.OFF), arguments.mode: Side(engine, SpeculationMode(arguments.mode))}
    for side in sides.values():
        side.measure(TASKS["story"], 1, argparse.Namespace(**{**vars(arguments), "tokens": 16}), 0)
    for num_streams in arguments.streams:
        for name in arguments.tasks:
            taken: dict[str, list[Sample]] = {side: [] for side in sides}
            for index, mode in in_turns(list(sides), arguments.rounds):
                taken[mode].append(sides[mode].measure(TASKS[name], num_streams, arguments, arguments.seed + index))
            _print(name, num_streams, taken[OFF], taken[arguments.mode], arguments)


def _print(
    name: str, num_streams: int, plain: list[Sample], drafted: list[Sample], arguments: argparse.Namespace
) -> None:
    cpu = [before.cpu_s / after.cpu_s for before, after in zip(plain, drafted, strict=True)]
    wall = [before.wall_s / after.wall_s for before, after in zip(plain, drafted, strict=True)]
    num_drafted = sum(sample.num_drafted for sample in drafted)
    num_accepted = sum(sample.num_drafted * sample.share_accepted for sample in drafted)
    num_by_model = sum(sample.num_by_model for sample in drafted)
    is_same = all(before.text == after.text for before, after in zip(plain, drafted, strict=True))
    print(
        f"{name:10} {num_streams} streams: rate to {OFF} by CPU {statistics.median(cpu):.3f} "
        f"({min(cpu):.3f} to {max(cpu):.3f}), by wall {statistics.median(wall):.3f}; "
        f"{_cpu_ms(plain):.2f} -> {_cpu_ms(drafted):.2f} "
        f"CPU ms a token; accepted {num_accepted:.0f} of {num_drafted} drafted, {num_by_model} by a model; "
        f"same text: {is_same}",
        flush=True,
    )
    what = f"{name}, {num_streams} streams, rate with drafts / without, by CPU time"
    note(Row(what, statistics.median(cpu), min(cpu), max(cpu), len(cpu), 0.97, None, 0.0))
    if arguments.show:
        print(drafted[0].text, flush=True)


def _cpu_ms(samples: list[Sample]) -> float:
    return statistics.median(sample.cpu_s for sample in samples) * 1000


def _models(arguments: argparse.Namespace, folder: Path) -> tuple[Path, Path | None]:
    """Return the model that is measured, and what drafts for it."""
    if arguments.layers is not None:
        return write_pair(folder, arguments.layers, noise=arguments.noise)
    if arguments.engine == "mlx":
        return bundled_mlx() or sys.exit("the bundled model has no MLX form here; scripts/setup makes it"), None
    path = arguments.gguf or quantized(folder, arguments.type)
    return path, quantized(folder, "q4_0") if arguments.draft == Path() else arguments.draft


def _draft_spec(path: Path, num_cells: int) -> DraftSpec:
    return DraftSpec(name=path.stem, model_path=str(path), context_length=CONTEXT_LENGTH, kv_cells=num_cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gguf", nargs="?", type=Path, help="default: the bundled model as Q4_0")
    parser.add_argument("--layers", type=int, help="of a tiny model in the place of the bundled one")
    parser.add_argument("--noise", type=float, default=0.0, help="how far the tiny one that drafts for it is off")
    parser.add_argument("--engine", default="llamacpp", choices=["llamacpp", "mlx"])
    parser.add_argument("--mode", default="auto", choices=["auto", "lookup", "draft"])
    parser.add_argument("--type", default="q4_0", choices=list(FORMS), help="of the bundled model, without a file")
    parser.add_argument("--draft", nargs="?", type=Path, const=Path(), help="GGUF that drafts; default: Q4_0 bundled")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=320)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--show", action="store_true", help="print the first answer of each row")
    arguments = parser.parse_args()
    with machine_watch(), tempfile.TemporaryDirectory() as folder:
        path, draft = _models(arguments, Path(folder))
        cells = NUM_SLOTS * CONTEXT_LENGTH
        spec = LoadSpec(
            model_path=str(path),
            context_length=CONTEXT_LENGTH,
            kv_cells=cells,
            max_sequences=NUM_SLOTS,
            num_threads=arguments.threads,
            draft=None if draft is None else _draft_spec(draft, cells),
        )
        engine = load(arguments.engine, spec)
        try:
            measure(engine, arguments)
        finally:
            engine.close()


if __name__ == "__main__":
    main()
