"""Tool calls as models write them, one file per family of formats: their syntax, and what reads it."""
