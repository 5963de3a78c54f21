"""The environment of worker processes: what engines need, no secrets, no network, no remote code. Pure."""

from collections.abc import Mapping

_SECRET_PARTS = ("TOKEN", "SECRET", "PASSWORD", "PASSWD", "API_KEY", "ACCESS_KEY", "PRIVATE_KEY", "CREDENTIAL")
_DROPPED = frozenset({"MLX_LM_TRUST_REMOTE_CODE", "HF_ENDPOINT"})

OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    # transformers warns about PyTorch's absence on every start, and tokenizers about forks; neither concerns us.
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


def worker_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for workers, made from the gateway's own."""
    kept = {
        name: value
        for name, value in environment.items()
        if name not in _DROPPED and not any(part in name.upper() for part in _SECRET_PARTS)
    }
    return kept | OFFLINE
