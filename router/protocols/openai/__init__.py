"""The OpenAI protocol: schemas, routes and stream encoders; no second path through the system."""
