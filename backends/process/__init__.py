"""The worker process: its loop, what comes in, what goes out."""
