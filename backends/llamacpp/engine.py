"""The llamacpp engine: its library, and what loads a model with it.

CPU only, and provably so: no device is offered to the library, nothing is offloaded, and after the load every layer and
buffer that its log names must be the CPU's, or the load fails.
"""

import contextlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import llama_cpp

from backends.base import Engine, EngineInfo
from backends.errors import LoadError
from backends.llamacpp.adapters import load_adapter
from backends.llamacpp.caches import no_context_error
from backends.llamacpp.context import Context
from backends.llamacpp.drafting.loading import load_draft
from backends.llamacpp.library import LibraryLog, cpu_features
from backends.llamacpp.loaded import LoadedLlamaCpp
from backends.llamacpp.loading import context_params, load_model, num_first_cells, prepare_vision, vision_of
from backends.llamacpp.tokenizer import LlamaCppTokenizer
from backends.machine.current import current_platform
from backends.wire.load import LoadSpec


class LlamaCppEngine(Engine):
    """See the module; one per process, because the library's log is the process's."""

    name = "llamacpp"
    can_see: ClassVar[bool] = True

    def __init__(self) -> None:
        self._log = LibraryLog()
        self._log.listen()

    def info(self) -> EngineInfo:
        """Return the build's version and CPU features."""
        features = cpu_features(llama_cpp.llama_print_system_info().decode(errors="replace"))
        return EngineInfo({"llama-cpp-python": llama_cpp.__version__}, features)

    def _load(self, spec: LoadSpec, on_progress: Callable[[float], None]) -> LoadedLlamaCpp:
        self._log.listen()  # the library's log may be another's since: the proof below would have heard nothing
        self._log.reset()
        looked = time.monotonic(), current_platform().idle_s(), time.process_time()
        with contextlib.ExitStack() as freeing:
            model = load_model(spec, on_progress, self._log)
            freeing.callback(llama_cpp.llama_model_free, model)
            adapter = load_adapter(model, spec, self._log)
            vision, why_text_only = vision_of(spec, model)
            params = context_params(model, spec, 0 if vision is None else vision.num_whole_rows)
            tokenizer = LlamaCppTokenizer(model)
            with ThreadPoolExecutor(1, thread_name_prefix="vocabulary") as beside:
                reading = beside.submit(tokenizer.read_all)  # Python's part, while the library clears the cells
                context = Context(
                    model,
                    params,
                    num_first_cells(model, spec, params),
                    self._log,
                    adapter,
                    checks_memory=spec.checks_memory,
                )
            reading.result()
            if not context.is_made:
                raise no_context_error(spec, context.num_cells, self._log.words)
            freeing.callback(context.close)
            if vision is not None:
                freeing.callback(vision.close)
                prepare_vision(vision, spec, params, self._log)
            drafting = load_draft(spec, model, self._log)
            if drafting.model is not None:
                freeing.callback(drafting.model.close)
            if self._log.foreign_devices:
                raise LoadError(
                    f"llama.cpp put parts of the model on {', '.join(self._log.foreign_devices)}, not on the CPU"
                )
            loaded = LoadedLlamaCpp(spec, self._log, model, context, params, tokenizer, adapter, vision, drafting)
            loaded.why_text_only = why_text_only
            loaded.note_cores(*looked)
            freeing.pop_all()  # the loaded engine's own business from now on
            return loaded
