"""The steps of a conversion as those who wait for it see them, and what holds them up."""

from collections.abc import Callable

from registry.pull.events import Converting
from router.conditions import Conditions

OnProgress = Callable[[Converting], object]


class ConversionSteps:
    """Tells them, and begins none while the machine is short of memory or hot; a step that runs goes on.

    Each takes all cores and the memory of a model; between two of them only files are kept.
    """

    def __init__(self, on_progress: OnProgress, conditions: Conditions) -> None:
        self._on_progress = on_progress
        self._conditions = conditions

    async def begin(self, step: str) -> None:
        """Wait until it may begin, and tell it."""
        await self.may_begin()
        self.tell(step)

    async def may_begin(self) -> None:
        """Wait while nothing heavy should be begun; say why."""
        while (strain := self._conditions.strain) is not None:
            self.tell(f"waiting, {strain}")
            await self._conditions.without_strain()

    def tell(self, step: str, share: float | None = None) -> None:
        """Tell how far a step is, 0..1; None = it does not say."""
        self._on_progress(Converting(step=step, share=share))
