"""The server as a launchd agent of its user, on macOS. Pure: a plan in, a property list out. Not run on a Mac.

Source: launchd.plist(5).
"""

import math
import plistlib
from pathlib import Path
from typing import Final

from router.service.plan import ServicePlan

LABEL: Final = "local.mlxr.server"

THROTTLE_S: Final = 10
"""The least time between two starts."""

NUM_FILES: Final = 10_240
"""Open files; macOS gives an agent 256."""


def agent_plist(plan: ServicePlan) -> bytes:
    """Write the agent's property list."""
    return plistlib.dumps(
        {
            "Label": LABEL,
            "ProgramArguments": list(plan.argv),
            "EnvironmentVariables": dict(plan.environment),
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False},  # killed, crashed, or unable to serve
            "ThrottleInterval": THROTTLE_S,
            "ExitTimeOut": math.ceil(plan.ending_s),
            "ProcessType": "Interactive",  # no lower priority than what the user works with
            "Umask": 0o077,
            "SoftResourceLimits": {"NumberOfFiles": NUM_FILES},
            "StandardOutPath": str(plan.output_file),
            "StandardErrorPath": str(plan.output_file),
        },
        sort_keys=False,
    )


def agent_file(user_home: Path) -> Path:
    """Give the place of the user's own agents."""
    return user_home / "Library" / "LaunchAgents" / f"{LABEL}.plist"
