"""What all scenarios stand on: the server as they see it, what they need of it, and what a run says."""
