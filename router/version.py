"""The version of mlxr, for those who know nothing of workers."""

from backends.version import VERSION

__all__ = ["VERSION"]
