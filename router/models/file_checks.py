"""Whether the files of a model are still those that the registry knows, looked at before they are served."""

from collections.abc import Callable
from typing import Final

from registry.catalogue import Adapter, Artifact, Model
from router.errors import ModelLoadFailedError
from router.models.targets import Choice

CHECK_FILES_INTERVAL_S: Final = 1.0
"""An artifact's files are looked at before they are served, at most this often."""


class FileChecks:
    """Owned by the directory of models.

    Args:
        what_changed: Says what is not as the registry has it of an artifact's or adapter's files; None = all is taken
            to be unchanged.
        clock: Monotonic seconds.
    """

    def __init__(
        self, what_changed: Callable[[Artifact | Adapter], str | None] | None, clock: Callable[[], float]
    ) -> None:
        self._what_changed = what_changed
        self._clock = clock
        self._checked: dict[tuple[type, int], tuple[str, float]] = {}

    def why_not(self, model: Model, choice: Choice) -> ModelLoadFailedError | None:
        """Return what is wrong with the files of a choice; None = they are as the registry has them."""
        if choice.target.is_remote:
            return None
        try:
            remedy = "try again in a moment, or run `mlxr models scan`"
            for artifact in model.artifacts:
                if artifact.id == choice.target.local.artifact_id:
                    self._check(
                        artifact, f"the model '{model.name}'", "try again in a moment, or run `mlxr models scan`"
                    )
            adapter = choice.target.adapter
            if adapter is not None:
                remedy = f"`mlxr models adapter add {model.name} {adapter.path} --name {adapter.name}` reads it anew"
                self._check(adapter, f"the adapter '{adapter.reference}'", remedy)
        except ModelLoadFailedError as exc:
            return exc
        return None

    def forget(self) -> None:
        """Look at everything anew."""
        self._checked.clear()

    def _check(self, artifact: Artifact | Adapter, what: str, remedy: str) -> None:
        """Refuse to serve files that are not those that the registry knows."""
        now = self._clock()
        key = (type(artifact), artifact.id)
        version, checked_at = self._checked.get(key, ("", now))
        is_fresh = version == artifact.version and now < checked_at + CHECK_FILES_INTERVAL_S
        if self._what_changed is None or is_fresh:
            return
        change = self._what_changed(artifact)
        if change is not None:
            raise ModelLoadFailedError(f"{what} cannot be served: {change}; {remedy}")
        self._checked[key] = (artifact.version, now)
