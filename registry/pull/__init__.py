"""Fetching models: from a reference to verified files in mlxr's models folder."""

from registry.pull.events import PullEvent
from registry.pull.orphans import Orphan, find_orphans, remove_orphans
from registry.pull.plan import PlannedFile, PlannedPart, PullPlan, Wishes
from registry.pull.puller import Puller, PullResult, PullSettings, open_puller

__all__ = [
    "Orphan",
    "PlannedFile",
    "PlannedPart",
    "PullEvent",
    "PullPlan",
    "PullResult",
    "PullSettings",
    "Puller",
    "Wishes",
    "find_orphans",
    "open_puller",
    "remove_orphans",
]
