"""Batches: validation and the graph of lines (pure), the task that drives them, their store."""
