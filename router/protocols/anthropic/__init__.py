"""The Anthropic Messages API: schemas, routes, encoders. No engine code and no second path through the system."""
