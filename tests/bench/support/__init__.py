"""What the benchmarks share: the bundled model, the servers they compare, a streaming client, prompts, the report."""
