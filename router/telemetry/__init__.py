"""Metrics of the gateway, counted by observers of those who own what is counted."""
