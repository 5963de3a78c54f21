"""The worker process: one engine, one model, one thread, one channel to the gateway.

    python -P -m backends.process.worker --engine llamacpp --fd 3

It says `Hello`, loads the model that it is told to, and serves it (`serving`). It ends when the gateway says so, when
the channel closes (the gateway is gone), or with the gateway, whatever it does then.
"""

import argparse
import os
import signal
import socket
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import assert_never

from backends.base import Engine, LoadedEngine
from backends.batching.batcher import Batcher
from backends.batching.saving import Saving
from backends.engines import create_engine
from backends.errors import (
    EngineLostError,
    EngineUnavailableError,
    FrameError,
    LoadError,
    TemplateError,
    UnsupportedByModelError,
)
from backends.machine.current import current_platform
from backends.process.image_loader import ImagePreparer
from backends.process.serving import Serving
from backends.prompting.chat_template import check_template
from backends.saved_caches.caches import SavedCaches
from backends.version import VERSION
from backends.wire.channel import Channel, ChannelClosedError
from backends.wire.load import LoadSpec
from backends.wire.messages import (
    Ask,
    Cancel,
    Command,
    Embed,
    Failed,
    Generate,
    Hello,
    Load,
    Loaded,
    LoadFailed,
    LoadProgress,
    Pause,
    Resume,
    Shutdown,
)


def run(channel: Channel, engine: Engine, import_ms: float) -> None:
    """Work until the gateway says `Shutdown` or is gone.

    Args:
        import_ms: What the engine's imports took, for the first message.

    Raises:
        EngineLostError: The engine cannot go on.
        EngineUnavailableError: The engine's library is broken.
        FrameError: The gateway sent something that is no frame of ours.
    """
    try:
        info = engine.info()
        channel.send([Hello(engine.name, info.versions, info.features, import_ms, info.working_set_bytes, VERSION)])
        while True:
            commands = channel.receive(None)
            for index, command in enumerate(commands):
                match command:
                    case Load(spec=spec):
                        _serve(channel, engine, spec, commands[index + 1 :])
                        return
                    case Shutdown():
                        return
                    case Generate() | Ask() | Embed():
                        message = "no model is loaded in this worker"
                        channel.send([Failed(command.sequence_id, LoadError.code, message)])
                    case Cancel() | Pause() | Resume():
                        pass  # of a request that has failed
                    case _:
                        assert_never(command)
    except ChannelClosedError:
        pass


def _serve(channel: Channel, engine: Engine, spec: LoadSpec, arrived: Sequence[Command]) -> None:
    try:
        loaded = load(engine, spec, lambda fraction: channel.send([LoadProgress(fraction)]))
    except LoadError as exc:
        channel.send([LoadFailed(exc.code, str(exc))])
        return
    try:
        batcher = Batcher(loaded.limits)
        files_dir = None if spec.slot_files_dir is None else Path(spec.slot_files_dir)
        serving = Serving(
            channel,
            loaded,
            loaded.model,
            batcher,
            _saving(spec, loaded, batcher),
            arrived,
            files_dir,
            images=_image_processor(spec, loaded),
        )
        loaded.watch(_end_lost)
        channel.send([Loaded(loaded.model)])
        serving.run()
    finally:
        loaded.close()


def _end_lost(words: str) -> None:
    """End the process, from whatever thread: the engine's own may wait for what never comes."""
    print(f"worker: {words}", file=sys.stderr, flush=True)  # noqa: T201 - its last words
    os._exit(1)


def _saving(spec: LoadSpec, loaded: LoadedEngine, batcher: Batcher) -> Saving | None:
    if spec.saved_caches_dir is None:
        return None
    saved = SavedCaches(loaded, Path(spec.saved_caches_dir), spec.saved_caches_max_bytes)
    return Saving(loaded, batcher, saved, saves_all=spec.saves_all_caches)


def _image_processor(spec: LoadSpec, loaded: LoadedEngine) -> ImagePreparer | UnsupportedByModelError | None:
    """Return what prepares pictures, or why none can be; texts are answered all the same."""
    if spec.vision is None:
        return None
    if not loaded.evaluates_rows:
        return UnsupportedByModelError(
            loaded.why_text_only or "the model cannot see images: its engine has no means to"
        )
    from backends.images.processor import create_processor  # noqa: PLC0415 - workers of text models need no Pillow

    warnings.filterwarnings("ignore", module="PIL")  # of files that are odd; the gateway shows stderr to people
    try:
        return create_processor(spec.vision, spec.model_path)
    except UnsupportedByModelError as exc:
        return exc


def load(engine: Engine, spec: LoadSpec, on_progress: Callable[[float], None]) -> LoadedEngine:
    """Load a model, with the user's chat template in the place of the model's own.

    Everything that looks at a template asks the tokenizer for it, so that control tokens, tools and reasoning are read
    off the user's template as they would be off the model's.

    Args:
        on_progress: Called with shares of the load, 0 to 1, each percent once.

    Raises:
        LoadError: The engine refused it, or the user's template is not valid.
    """
    if spec.chat_template is not None:
        try:
            check_template(spec.chat_template)
        except TemplateError as exc:
            raise LoadError(f"the template that is set on this model cannot be used: {exc}") from exc
    last_percent = -1

    def report(fraction: float) -> None:
        nonlocal last_percent
        percent = int(fraction * 100)
        if percent > last_percent:
            last_percent = percent
            on_progress(fraction)

    loaded = engine.load(spec, report)
    if spec.chat_template is not None:
        loaded.tokenizer.chat_template = spec.chat_template
    return loaded


def main(argv: list[str] | None = None) -> int:
    """Run a worker on an inherited socket; the entry point of the process."""
    parser = argparse.ArgumentParser(prog="backends.process.worker", description=__doc__)
    parser.add_argument("--engine", required=True)
    parser.add_argument("--fd", type=int, required=True, help="inherited stream socket to the gateway")
    parser.add_argument("--options", default="{}", help="JSON for the fake engine")
    arguments = parser.parse_args(argv)
    current_platform().end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the gateway, which then ends its workers in order
    channel = Channel(socket.socket(fileno=arguments.fd))
    started_at = time.monotonic()
    try:
        engine = create_engine(arguments.engine, arguments.options)
        run(channel, engine, (time.monotonic() - started_at) * 1000)
    except EngineUnavailableError as exc:
        channel.send([LoadFailed(exc.code, str(exc))])
        return 1
    except (EngineLostError, FrameError) as exc:
        print(f"worker: {exc}", file=sys.stderr)  # noqa: T201 - the gateway keeps the tail of stderr for its error
        return 1
    finally:
        channel.close()
    return 0


if __name__ == "__main__":
    _code = main()
    sys.stderr.flush()
    # Not by the interpreter's own end, which unloads the libraries piece by piece while the next model waits.
    os._exit(_code)
