"""mlxr as a service of its user: what the system's service manager is told, and the files that describe it."""
