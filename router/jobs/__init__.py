"""Long work beside requests: pulls, conversions, benchmarks, batches, background responses, shadowing."""
