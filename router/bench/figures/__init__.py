"""From samples to figures, intervals and verdicts. Pure."""
