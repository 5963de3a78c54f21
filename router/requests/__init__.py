"""Requests that run, whatever protocol they came by: their generation, their list, their time."""
