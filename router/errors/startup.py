"""Why the server cannot start. Seen by the command line alone."""

from router.errors.base import RouterError


class StartupError(RouterError, code="startup_failed"):
    """The server cannot start. Seen by the CLI only: one line, exit status 1."""


class ConfigError(StartupError, code="invalid_config"):
    """The config cannot be used; the message names the file and the key's path."""


class CertificateError(StartupError, code="invalid_certificate"):
    """The certificate of TLS or its key cannot be used; the message names the file and the way out."""


class BindError(StartupError, code="bind_failed"):
    """An address or socket path cannot be listened on."""


class AddressInUseError(BindError, code="address_in_use"):
    """Another process listens on the address."""


class SocketInUseError(BindError, code="socket_in_use"):
    """A server answers on the unix socket, or the path holds something that is not a socket."""
