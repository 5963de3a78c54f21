"""The machine under a benchmark: what it is, its energy, what else it does."""
