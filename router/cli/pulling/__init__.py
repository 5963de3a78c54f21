"""Verbs that get models from hubs."""
