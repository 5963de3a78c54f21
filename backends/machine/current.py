"""Which of the platforms this one is."""

import functools
import sys

from backends.machine.base import Platform, is_cpu_wanted


@functools.cache
def current_platform() -> Platform:
    """Return the one that this process runs on; always the same object."""
    if sys.platform == "darwin":
        from backends.machine.apple import ApplePlatform  # noqa: PLC0415 - the other system's is not read

        return ApplePlatform(is_cpu_wanted=is_cpu_wanted())
    from backends.machine.linux import LinuxPlatform  # noqa: PLC0415

    return LinuxPlatform()
