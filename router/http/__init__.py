"""The HTTP foundation of the gateway: server, guards, bodies, streams and errors. No route lives here."""
