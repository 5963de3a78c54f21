"""The server as a systemd user unit. Pure: a plan in, text out.

Source: systemd.unit(5), systemd.service(5), systemd.exec(5), systemd.syntax(7).
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from router.service.plan import ServicePlan

UNIT_NAME: Final = "mlxr.service"

WATCHDOG_S: Final = 60.0
"""After how much silence of the event loop the server is killed and started again."""

_ESCAPES: Final = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r", "%": "%%"}

_TEMPLATE: Final = """\
[Unit]
Description=mlxr, a local LLM server
StartLimitIntervalSec=300
StartLimitBurst=10

[Service]
Type=notify
NotifyAccess=main
ExecStart={command}
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
RestartSec=2
# 2: the call makes no sense, 78: the config cannot be used. Starting again would change nothing.
RestartPreventExitStatus=2 78
WatchdogSec={watchdog}
TimeoutStartSec=300
TimeoutStopSec={ending}
# SIGTERM is the server's business, which ends its workers in order; what is left is killed.
KillMode=mixed
# A worker that the kernel kills for its memory costs its requests, not the server.
OOMPolicy=continue
EnvironmentFile=-{secrets_file}
{environment}
UMask=0077
NoNewPrivileges=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM

[Install]
WantedBy=default.target
"""
# No MemoryDenyWriteExecute: MLX loads kernels that it compiles. No ProtectHome, PrivateTmp and the like: models lie
# where users put them, and in a user's manager these need namespaces that some systems forbid.


def unit_text(plan: ServicePlan, *, watchdog_s: float = WATCHDOG_S) -> str:
    """Write the unit."""
    lines = [f"Environment={_quoted(f'{name}={value}')}" for name, value in plan.environment.items()]
    return _TEMPLATE.format(
        command=" ".join(_quoted(word).replace("$", "$$") for word in plan.argv),
        watchdog=f"{watchdog_s:g}",
        ending=math.ceil(plan.ending_s),
        secrets_file=str(plan.secrets_file).replace("%", "%%"),
        environment="\n".join(lines),
    )


def unit_file(environment: Mapping[str, str], user_home: Path) -> Path:
    """Give the place of the user's own units."""
    config = environment.get("XDG_CONFIG_HOME")
    return (Path(config) if config else user_home / ".config") / "systemd" / "user" / UNIT_NAME


def _quoted(text: str) -> str:
    return f'"{"".join(_ESCAPES.get(char, char) for char in text)}"'
