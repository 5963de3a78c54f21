"""TLS: the server's certificate, its renewal while the server runs, encrypted connections, and who trusts them."""
