"""Running a benchmark over HTTP, as any client."""
