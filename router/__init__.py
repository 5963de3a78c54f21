"""The gateway: HTTP in, messages to workers out; and the command line. Never imports an engine's library."""
