"""A soak: a gateway under a supervisor and under load, with a fault every half minute. `scripts/soak --help`."""
