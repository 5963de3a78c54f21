"""The client of a running gateway, for the command line and the benchmark."""
