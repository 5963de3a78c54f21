"""Fetching models: from a reference to verified files in mlxr's models folder."""

from registry.pull.events import PullEvent
from registry.pull.plan import PlannedFile, PlannedPart, PullPlan, Wishes
from registry.pull.puller import Puller, PullResult, PullSettings, pull

__all__ = [
    "PlannedFile",
    "PlannedPart",
    "PullEvent",
    "PullPlan",
    "PullResult",
    "PullSettings",
    "Puller",
    "Wishes",
    "pull",
]
