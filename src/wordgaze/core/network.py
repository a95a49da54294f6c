"""Listening sockets of the servers."""

import socket

from wordgaze.core.errors import WordgazeError


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises WordgazeError for an address that is not available."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        reason = str(getattr(error, "strerror", None) or error).partition(" (while")[0]
        raise WordgazeError(f"{host}:{port} is not available ({reason}); give another --host or --port") from error
