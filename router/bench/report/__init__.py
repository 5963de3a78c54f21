"""Showing a run: on a terminal, as one page, and as JSON, CSV or Markdown."""
