"""The version of mlxr, of gateway and workers; pyproject.toml has the same (a test holds the two together)."""

VERSION = "0.1.0"
