"""Fetching models: from a reference to verified files in mlxr's models folder."""

from registry.pull.events import PullEvent
from registry.pull.orphans import Orphan, find_orphans, remove_orphans
from registry.pull.puller import Puller, PullResult, PullSettings, open_puller
from registry.pull_record import PlannedFile, PlannedPart, PullOptions, PullPlan

__all__ = [
    "Orphan",
    "PlannedFile",
    "PlannedPart",
    "PullEvent",
    "PullOptions",
    "PullPlan",
    "PullResult",
    "PullSettings",
    "Puller",
    "find_orphans",
    "open_puller",
    "remove_orphans",
]
