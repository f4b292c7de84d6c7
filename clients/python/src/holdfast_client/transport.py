"""Sends one request and reads its answer, over connections that are kept open."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

# An idle connection is closed after this, before the core would close it under a request.
IDLE_S_MAX = 5.0
IDLE_CONNECTIONS_MAX = 16


class ConnectionLost(Exception):
    """No whole answer came; whether the request arrived is not known."""


@dataclass(frozen=True)
class Answer:
    """An answer of the server. `body` is None where it is not JSON."""

    status: int
    headers: dict[str, str]
    body: Any


class Transport:
    """The connections to one server; may be used by several threads."""

    def __init__(self, base_url: str, tls: ssl.SSLContext | None) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("base_url must be http://HOST[:PORT][/PATH] or https://…")
        self.origin = f"{parts.scheme}://{parts.netloc}"
        self.prefix = parts.path.rstrip("/")
        self._host, self._port = parts.hostname, parts.port
        self._tls = (tls or ssl.create_default_context()) if parts.scheme == "https" else None
        self._idle: list[tuple[float, http.client.HTTPConnection]] = []
        self._lock = threading.Lock()

    def send(self, method: str, path: str, headers: dict[str, str], body: bytes | None, timeout_s: float) -> Answer:
        """One attempt. Raises `ConnectionLost` where no whole answer came in time."""
        connection = self._take(timeout_s)
        try:
            connection.request(method, path, body=body, headers=headers)
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as lost:
            connection.close()
            raise ConnectionLost(f"{method} {path}: {lost or type(lost).__name__}") from lost
        if response.will_close:
            connection.close()
        else:
            self._put_back(connection)
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, _json(content))

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for _, connection in idle:
            connection.close()

    def _take(self, timeout_s: float) -> http.client.HTTPConnection:
        with self._lock:
            while self._idle:
                since, connection = self._idle.pop()
                if time.monotonic() - since < IDLE_S_MAX:
                    if isinstance(connection.sock, socket.socket):
                        connection.sock.settimeout(timeout_s)
                    return connection
                connection.close()
        if self._tls is not None:
            return http.client.HTTPSConnection(self._host, self._port, timeout=timeout_s, context=self._tls)
        return http.client.HTTPConnection(self._host, self._port, timeout=timeout_s)

    def _put_back(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            if len(self._idle) < IDLE_CONNECTIONS_MAX:
                self._idle.append((time.monotonic(), connection))
                return
        connection.close()


def _json(content: bytes) -> Any:
    try:
        return json.loads(content.decode("utf-8"))
    except ValueError:
        return None
