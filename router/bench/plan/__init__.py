"""What a benchmark asks, whom, and in which order. Pure."""
