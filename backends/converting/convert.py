"""`python -P -m backends.converting.convert {convert,parity} ...`: one piece of a conversion, in a process of its own.

Prints one line of JSON; what the libraries say goes to stderr, their progress bars included. Ends when its stdin ends,
so that nothing goes on when the one who started it was killed. Not here: temporary folders, checks, the catalogue
(`router.jobs.convert.steps`).
"""

import argparse
import importlib
import os
import sys
from pathlib import Path

import msgspec

from backends.converting.convert_messages import ConvertReply
from backends.converting.parity import read_parity
from backends.converting.pre_tokenizers import correct_pre_tokenizer
from backends.engines import create_engine
from backends.errors import FOREIGN_ERRORS, BackendError, LoadError
from backends.lifeline import end_with_stdin
from backends.mlx.transformers_index import quicken_transformers
from backends.wire.load import LoadSpec

PARITY_CONTEXT_LENGTH = 512
DTYPES = ("float16", "bfloat16", "float32")


def convert(arguments: argparse.Namespace) -> ConvertReply:
    """Convert a GGUF file or a folder of float weights to an MLX folder.

    Raises:
        LoadError: A converter is missing or refused the model.
    """
    source, out = Path(arguments.source), Path(arguments.out)
    if source.is_dir():
        from backends.mlx.conversion import convert_folder  # noqa: PLC0415 - mlx is not needed for the rest

        convert_folder(source, out, dtype=arguments.dtype, bits=arguments.bits, group_size=arguments.group_size)
    else:
        _convert_gguf(source, out, arguments)
    return ConvertReply()


def _convert_gguf(source: Path, out: Path, arguments: argparse.Namespace) -> None:
    """Call gguf2mlx's own entry point; it has no other interface.

    Raises:
        LoadError: It is missing or refused the model.
    """
    try:
        main = importlib.import_module("gguf2mlx").main
    except ImportError as exc:
        raise LoadError(f"gguf2mlx does not work here ({exc}); install it with: pip install 'mlxr[convert]'") from exc
    argv = ["gguf2mlx", "--input", str(source), "--output", str(out)]
    argv += ["--dtype", arguments.dtype] if arguments.dtype else []
    if arguments.bits is not None:
        argv += ["--quantize", "--q-bits", str(arguments.bits), "--q-group-size", str(arguments.group_size)]
    sys.argv = argv
    try:
        main()
    except SystemExit as exc:
        if exc.code not in {None, 0}:
            raise LoadError("gguf2mlx refused the model") from exc
    except FOREIGN_ERRORS as exc:
        raise LoadError(f"gguf2mlx failed: {type(exc).__name__}: {exc}") from exc
    if arguments.pre is not None:
        correct_pre_tokenizer(out, arguments.pre)


def parity(arguments: argparse.Namespace) -> ConvertReply:
    """Load a model and read the fixed text with it.

    Raises:
        BackendError: It does not load or does not compute.
    """
    engine = create_engine(arguments.engine)
    engine.info()
    spec = LoadSpec(model_path=arguments.source, context_length=PARITY_CONTEXT_LENGTH, max_sequences=1, cache_slots=0)
    loaded = engine.load(spec, lambda _share: None)
    token_ids = None if arguments.token_ids is None else [int(item) for item in arguments.token_ids.split(",")]
    return ConvertReply(parity=read_parity(loaded, token_ids))


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="backends.converting.convert")
    verbs = parser.add_subparsers(dest="verb", required=True)
    converting = verbs.add_parser("convert")
    converting.add_argument("--out", required=True)
    converting.add_argument("--dtype", choices=DTYPES)
    converting.add_argument("--bits", type=int)
    converting.add_argument("--group-size", type=int, default=64)
    converting.add_argument("--pre", help="how the GGUF says that text is cut, tokenizer.ggml.pre")
    reading = verbs.add_parser("parity")
    reading.add_argument("--engine", required=True)
    reading.add_argument("--token-ids")
    for verb in (converting, reading):
        verb.add_argument("--source", required=True)
    return parser.parse_args()


def main() -> None:
    """Do what the command line says and print the reply."""
    arguments = _parsed()
    end_with_stdin()
    quicken_transformers()
    reply_file = os.dup(1)
    os.dup2(2, 1)
    try:
        reply = convert(arguments) if arguments.verb == "convert" else parity(arguments)
    except BackendError as exc:
        reply = ConvertReply(error=str(exc))
    sys.stdout.flush()
    os.write(reply_file, msgspec.json.encode(reply) + b"\n")
    sys.stderr.flush()
    # Without the interpreter's own end: libraries' threads and the lifeline need none.
    os._exit(0 if reply.error is None else 1)


if __name__ == "__main__":
    main()
