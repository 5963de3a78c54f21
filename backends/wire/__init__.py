"""What crosses the border between gateway and worker, and how."""
