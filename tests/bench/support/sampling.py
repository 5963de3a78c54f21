"""How the throughput benchmarks have tokens drawn: the same for all servers, whatever these do by default."""

from typing import Any, Final

SAMPLINGS: Final[dict[str, dict[str, Any]]] = {
    "greedy": {"temperature": 0},
    "top_p": {"temperature": 0.8, "top_p": 0.95, "top_k": 0, "min_p": 0.0},
    "top_k": {"temperature": 0.8, "top_p": 1.0, "top_k": 40, "min_p": 0.0},
}
"""llama-server would otherwise cut to 40 tokens before top_p, and drop unlikely ones behind it (min_p 0.05)."""
