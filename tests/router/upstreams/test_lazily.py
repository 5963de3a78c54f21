"""Where no upstream is configured, nothing of the room is imported but what waits for the config to name one."""

import subprocess
import sys

LOOK = """
import sys
import router.gateway
print(*sorted(name for name in sys.modules if name.startswith("router.upstreams")))
"""


def test_a_gateway_without_upstreams_imports_none_of_the_room() -> None:
    found = subprocess.run([sys.executable, "-P", "-c", LOOK], capture_output=True, text=True, check=True, cwd=".")
    assert found.stdout.split() == ["router.upstreams", "router.upstreams.lazily"]
