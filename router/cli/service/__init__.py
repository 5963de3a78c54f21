"""`mlxr service`: the server as a service of this user."""
