"""Scenarios: what people do with a local router, each a small program over its public API, to read and to change."""
