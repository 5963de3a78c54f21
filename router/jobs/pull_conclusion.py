"""What follows the transfer of a pull: its files become a model, and the form that no repository has is made."""

import logging
import shlex
from pathlib import Path

from registry.engines import EngineKind
from registry.errors import PullUnfinishedError, RegistryError
from registry.pull import PullHandle, PullResult
from registry.pull.events import Converting, Registered
from registry.threads import in_thread
from router.jobs.convert.converter import Converter
from router.jobs.convert.report import ConversionWish
from router.jobs.pulled import register_pulled
from router.work_errors import ConversionError

logger = logging.getLogger(__name__)


class PullConclusion:
    """See the module.

    Args:
        converter: Makes the forms that no repository has.
    """

    def __init__(self, database: Path, models_dir: Path, converter: Converter) -> None:
        self._database = database
        self._models_dir = models_dir
        self._converter = converter

    async def conclude(self, handle: PullHandle, result: PullResult) -> None:
        """Register what came, and make the MLX form that no repository has.

        Raises:
            PullUnfinishedError: That cannot be done; the files stay.
        """
        models = await self._register(handle, result)
        for model in models:
            handle.tell(model)
        logger.info("pull %d brought %s", handle.id, ", ".join(model.model for model in models))
        if EngineKind.MLX in result.plan.needs_conversion and EngineKind.MLX not in models[0].engines:
            await self._convert(handle, models[0].model)

    async def _register(self, handle: PullHandle, result: PullResult) -> tuple[Registered, ...]:
        wishes = handle.wishes
        try:
            return await in_thread(
                lambda: register_pulled(
                    self._database, self._models_dir, result, name=wishes.name, called=wishes.called
                )
            )
        except OSError as exc:
            code, message = "unreadable", f"{exc.filename or self._models_dir}: {exc.strerror or exc}."
        except RegistryError as exc:
            code, message = exc.code, str(exc)
        remedy = f"mlxr models add {' '.join(shlex.quote(str(path)) for path in result.paths[:1])}"
        raise PullUnfinishedError(code, f"{message} The files came: `{remedy}`, with another --name, registers them.")

    async def _convert(self, handle: PullHandle, model: str) -> None:
        def tell(step: str, share: float | None) -> None:
            handle.tell(Converting(step=step, share=share))

        try:
            converted = await self._converter.convert(model, ConversionWish(), on_progress=tell)
        except (ConversionError, RegistryError) as exc:
            words = f"{model} is there and runs on llamacpp, but was not converted for mlx: {exc}"
            raise PullUnfinishedError(exc.code, words) from exc
        handle.tell(converted.registered)
