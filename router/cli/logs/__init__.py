"""The server's log: how it is written, and reading it."""
