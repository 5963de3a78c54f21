"""The OpenAI Responses API: schemas, routes, encoders, and responses that run in the background."""
