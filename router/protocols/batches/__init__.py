"""OpenAI's files and batches: JSONL of requests, answered as background work that survives the gateway."""
