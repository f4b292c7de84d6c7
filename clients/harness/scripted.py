"""A server that misbehaves as a case says, and judges what it is sent.

`POST /_case/NUMBER` begins a case; `GET /_verdict` says what was wrong with the requests since then. Prints
its port. A line on stdin, or its end, ends it.
"""

from __future__ import annotations

import json
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from . import bodies

KEY = re.compile(r"[!#-~]{8,255}")
STALL_S_MAX = 20.0


class Script:
    """The case that is played, and how far it has got."""

    def __init__(self, cases: list[dict[str, Any]]) -> None:
        self.cases = cases
        self.lock = threading.Lock()
        self.begin(0)

    def begin(self, number: int) -> None:
        with self.lock:
            self.case = self.cases[number]
            self.next = 0
            self.keys: list[str] = []
            self.wrong: list[str] = []

    def take(self, method: str, target: str, headers: dict[str, str], body: bytes) -> dict[str, Any]:
        """What to do with this request; what is wrong with it is noted."""
        with self.lock:
            if self.next >= len(self.case["server"]):
                self.wrong.append(f"{method} {target} is one request too many")
                return {"answer": {"status": 404, "body": {}}}
            exchange = self.case["server"][self.next]
            request = exchange.get("request", self.case["request"])
            said = self.judged(request, exchange, method, target, headers, body)
            self.wrong += [f"request {self.next}: {it}" for it in said]
            self.next += 1
            return exchange

    def judged(
        self, request: dict[str, Any], exchange: dict[str, Any], method: str, target: str,
        headers: dict[str, str], body: bytes,
    ) -> list[str]:  # fmt: skip
        wrong = []
        if (method, parts(target)) != (request["method"], parts(request["path"])):
            wrong.append(f"{method} {target}, not {request['method']} {request['path']}")
        expected = request.get("body")
        sent = json.loads(body) if body else None
        if sent != expected:
            wrong.append(f"the body {sent}, not {expected}")
        if headers.get("authorization") != "Bearer key-of-the-cases":
            wrong.append("without the API key")
        if expected is not None and "Content-Type" not in request.get("headers", {}):
            if not (headers.get("content-type", "").startswith("application/json") or method == "PATCH"):
                wrong.append("a body without its type")
        for name, value in request.get("headers", {}).items():
            if headers.get(name.lower()) != value:
                wrong.append(f"{name}: {headers.get(name.lower())}, not {value}")
        return wrong + self.judged_key(request, exchange, headers.get("idempotency-key"))

    def judged_key(self, request: dict[str, Any], exchange: dict[str, Any], key: str | None) -> list[str]:
        is_keyed = request["method"] == "POST" and re.match(r"/limited/|.*/refunds$", request["path"])
        if not is_keyed:
            return [f"the key {key} where there is none"] if key is not None else []
        times = self.case.get("times", 1)
        is_first = not self.keys or (times > 1 and self.next % (len(self.case["server"]) // times) == 0)
        expected = exchange.get("key", "new" if is_first else "same")
        if key is None or not KEY.fullmatch(key):
            return [f"the key {key}"]
        self.keys.append(key)
        if expected == "new":
            return ["a key that was used before"] if key in self.keys[:-1] else []
        wanted = self.keys[0] if expected == "same" else expected
        return [] if key == wanted else [f"the key {key}, not {wanted}"]

    def verdict(self) -> list[str]:
        with self.lock:
            missing = [it for it in self.case["server"][self.next :] if not it.get("optional")]
            return self.wrong + ([f"{len(missing)} requests are missing"] if missing else [])


def parts(target: str) -> tuple[str, list[tuple[str, str]]]:
    return urlsplit(target).path, sorted(parse_qsl(urlsplit(target).query))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    script: Script

    def answer_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.startswith("/_case/"):
            self.script.begin(int(self.path.rsplit("/", 1)[1]))
            return self.send(200, {}, b"{}")
        if self.path == "/_verdict":
            return self.send(200, {}, json.dumps({"wrong": self.script.verdict()}).encode())
        headers = {name.lower(): value for name, value in self.headers.items()}
        exchange = self.script.take(self.command, self.path, headers, body)
        if "answer" in exchange:
            return self.send_scripted(exchange["answer"])
        if exchange.get("stall"):
            # Until the client gives up.
            self.connection.settimeout(STALL_S_MAX)
            try:
                self.connection.recv(1)
            except OSError:
                pass
        elif exchange["cut"] == "middle":
            head = b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n"
            self.wfile.write(head + b'{"purchase_id":')
        self.close_connection = True

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer_any

    def send_scripted(self, answer: dict[str, Any]) -> None:
        content = answer["text"] if "text" in answer else json.dumps(answer["body"])
        status = answer["status"]
        kind = "application/json" if status < 400 else "application/problem+json"
        headers = {"Content-Type": kind, "X-Request-Id": "req_00000000000000aa"}
        self.send(status, {**headers, **answer.get("headers", {})}, content.encode())

    def send(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response_only(status)
        # A client that repeats a request by itself on a kept connection would not be seen otherwise.
        for name, value in {**headers, "Connection": "close", "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exception() if hasattr(sys, "exception") else sys.exc_info()[1]
        if not isinstance(error, (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


def main() -> None:
    Handler.script = Script(bodies.read()["calls"])
    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    main()
