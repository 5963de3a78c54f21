"""Measuring models and engines against each other: what is run, what is made of it, and how it is shown."""
