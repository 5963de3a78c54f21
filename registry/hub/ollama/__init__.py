"""A registry that speaks Ollama's manifest protocol: names, what it answers, and what it says of a model's settings."""
