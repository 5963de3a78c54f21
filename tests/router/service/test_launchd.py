"""The launchd agent, read back by plistlib. Not run on a Mac."""

import plistlib
from pathlib import Path

from router.service.launchd import LABEL, agent_file, agent_plist
from router.service.plan import ServicePlan


def test_the_agent_says_what_was_planned() -> None:
    plan = ServicePlan(
        argv=("/opt/my mlxr/bin/python", "-P", "-m", "router.cli", "serve", "--log-file-only"),
        environment={"MLXR_HOME": "/Users/ü/Library/Application Support/mlxr", "PATH": "/opt/homebrew/bin:/usr/bin"},
        secrets_file=Path("/Users/ü/service.env"),
        output_file=Path("/Users/ü/Library/Logs/mlxr/serve.out"),
        ending_s=49.5,
    )
    text = agent_plist(plan)
    assert text.startswith(b'<?xml version="1.0" encoding="UTF-8"?>')
    assert plistlib.loads(text) == {
        "Label": LABEL,
        "ProgramArguments": list(plan.argv),
        "EnvironmentVariables": dict(plan.environment),
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ThrottleInterval": 10,
        "ExitTimeOut": 50,
        "ProcessType": "Interactive",
        "Umask": 63,
        "SoftResourceLimits": {"NumberOfFiles": 10240},
        "StandardOutPath": str(plan.output_file),
        "StandardErrorPath": str(plan.output_file),
    }


def test_the_agent_lies_where_the_users_agents_are() -> None:
    assert agent_file(Path("/Users/a")) == Path(f"/Users/a/Library/LaunchAgents/{LABEL}.plist")
