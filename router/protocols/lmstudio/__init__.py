"""LM Studio's own paths: its list of models, and OpenAI's endpoints below `/api/v0`."""
