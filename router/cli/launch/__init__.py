"""`mlxr launch`: sets other programs up to use this server, starts them, and takes back what it wrote."""
