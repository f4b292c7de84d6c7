"""What a call does until it has an outcome: repeat, wait, poll.

1. A keyed call makes its `Idempotency-Key` once, and every attempt has the same.
2. Lost connections and answers that ask for another try are repeated after `Retry-After`, or else
   after a wait that doubles; both with jitter. A call that is not safe to repeat is repeated only
   after 429, which comes before anything is done.
3. 202, and 409 `idempotency_in_flight` with a `Location`, are polled until the outcome is final.
4. Nothing is sent after the deadline.
"""

from __future__ import annotations

import json
import random
import re
import ssl
import time
import uuid
from dataclasses import dataclass, field
from typing import Any, Callable, Iterator, Mapping, Protocol
from urllib.parse import quote, urlencode

from .errors import Pending, ProtocolError, Unreachable, refused
from .transport import Answer, ConnectionLost, Transport

RETRIED = {408, 429, 502, 503, 504}
BACKOFF_FIRST_S, BACKOFF_MAX_S = 0.2, 5.0
POLL_FIRST_S, POLL_MAX_S = 0.25, 3.0


class Clock(Protocol):
    """What waits; a test has its own."""

    def monotonic(self) -> float: ...

    def sleep(self, seconds: float, /) -> None: ...


@dataclass(frozen=True)
class Attempt:
    """One attempt of a call, as an observer sees it. `status` is None where no answer came."""

    method: str
    path: str
    number: int
    status: int | None
    request_id: str | None
    replayed: bool


@dataclass(frozen=True)
class Policy:
    """How long and how often a call tries."""

    #: How long one attempt may wait for the next bytes.
    timeout_s: float = 10.0
    #: The whole call, with its waits and polls, unless the call names another.
    deadline_s: float = 30.0
    #: Repetitions of one request, polls aside.
    retries_max: int = 4
    clock: Clock = field(default=time)
    #: Hears of each attempt, to log or count it.
    observer: Callable[[Attempt], None] | None = None


@dataclass
class Call:
    """A request that is to be brought to an outcome."""

    method: str
    path: str
    body: Any = None
    query: Mapping[str, Any] | None = None
    headers: Mapping[str, str] | None = None
    #: The idempotency key, or None where the call takes none.
    key: str | None = None
    #: Whether a repetition does no more than one request.
    repeatable: bool = True
    deadline_s: float | None = None


def key_of(given: str | None) -> str:
    """The key of a call: the one that was given, or one that nobody else makes."""
    if given is None:
        return str(uuid.uuid4())
    if not re.fullmatch(r"[!#-~]{8,255}", given):
        raise ValueError("an idempotency key has 8 to 255 characters of visible ASCII, without quotes")
    return given


def segment(value: str) -> str:
    """An id as one segment of a path, so that it leads nowhere else."""
    if value in ("", ".", ".."):
        raise ValueError(f"{value!r} is not an id")
    return quote(value, safe="")


class Caller:
    """Brings calls to their outcome, with one API key."""

    def __init__(self, base_url: str, api_key: str, policy: Policy | None, tls: ssl.SSLContext | None) -> None:
        self._transport = Transport(base_url, tls)
        self._api_key = api_key
        self.policy = policy or Policy()

    def close(self) -> None:
        self._transport.close()

    def call(self, call: Call) -> Answer:
        """The answer of a call: 2xx that is not 202, or 202 where the call does not wait."""
        return self._repeated(call, self._ends_at(call))

    def settled(self, call: Call, is_final: Callable[[Any], bool], is_result: Callable[[Any], bool]) -> Any:
        """What a call led to, which is polled until `is_final`.

        Where that is no `is_result`, the request is sent again: its stored answer says why.
        """
        ends_at = self._ends_at(call)
        answer = self._repeated(call, ends_at)
        if answer.status != 202:
            return answer.body
        state = self._polled(call, answer, is_final, ends_at)
        if is_result(state):
            return state
        if state.get("reason") == "gateway_unavailable":
            # Its key is free again: the same request would start another payment.
            raise refused(_gateway_unavailable(state, answer), call.key)
        answer = self._repeated(call, ends_at)
        if answer.status == 202:
            raise Pending(answer.body or {}, answer.headers.get("location", ""), call.key)
        return answer.body

    def pages(self, path: str, field: str, query: Mapping[str, Any]) -> Iterator[Any]:
        """All entries of a list, page after page."""
        after: str | None = None
        while True:
            page = self.call(Call("GET", path, query={**query, "after": after})).body
            yield from page[field]
            after = page["next"]
            if after is None:
                return

    def _ends_at(self, call: Call) -> float:
        within = self.policy.deadline_s if call.deadline_s is None else call.deadline_s
        return self.policy.clock.monotonic() + within

    def _repeated(self, call: Call, ends_at: float) -> Answer:
        """Sends a request until there is an answer to give; in-flight answers come as 202."""
        for number in range(self.policy.retries_max + 1):
            answer, failure = self._attempt(call, number, ends_at)
            if answer is not None and answer.status not in RETRIED and not _in_flight(answer):
                return self._judged(call, answer)
            if answer is not None and _in_flight(answer) and "location" in answer.headers:
                return Answer(202, answer.headers, answer.body)
            wait = _wait(answer, BACKOFF_FIRST_S * 2**number, BACKOFF_MAX_S)
            is_safe = call.repeatable or (answer is not None and answer.status == 429)
            is_last = number == self.policy.retries_max
            if is_last or not is_safe or self.policy.clock.monotonic() + wait >= ends_at:
                break
            self.policy.clock.sleep(wait)
        if answer is None:
            raise Unreachable(f"{call.method} {call.path}: no answer", call.key) from failure
        return self._judged(call, answer)

    def _judged(self, call: Call, answer: Answer) -> Answer:
        if 200 <= answer.status < 300 and isinstance(answer.body, dict):
            return answer
        if isinstance(answer.body, dict) and isinstance(answer.body.get("reason"), str):
            problem = {"status": answer.status, "detail": "", "request_id": "", **answer.body}
            raise refused(problem, call.key, _retry_after(answer))
        raise ProtocolError(f"{call.method} {call.path}: {answer.status} without holdfast's JSON", call.key)

    def _polled(self, call: Call, answer: Answer, is_final: Callable[[Any], bool], ends_at: float) -> Any:
        state, location = answer.body, answer.headers.get("location", "")
        poll = Call("GET", self._own_path(location, call.key))
        step = POLL_FIRST_S
        while True:
            wait = _wait(answer, step, POLL_MAX_S)
            if self.policy.clock.monotonic() + wait >= ends_at:
                raise Pending(state, location, call.key)
            self.policy.clock.sleep(wait)
            step *= 1.6
            read, _ = self._attempt(poll, 0, ends_at)
            if read is None or read.status in RETRIED:
                answer = read or Answer(503, {}, None)
                continue
            answer = self._judged(Call("GET", poll.path, key=call.key), read)
            state = answer.body
            if is_final(state):
                return state

    def _own_path(self, location: str, key: str | None) -> str:
        """The path of a `Location`, which the API key is sent to: only of this server."""
        path = location.removeprefix(self._transport.origin)
        if not path.startswith("/") or path.startswith("//"):
            raise ProtocolError(f"Location {location!r} is not a path of this server", key)
        return path

    def _attempt(self, call: Call, number: int, ends_at: float) -> tuple[Answer | None, Exception | None]:
        headers = {"Authorization": f"Bearer {self._api_key}", "Accept": "application/json", **(call.headers or {})}
        body = None
        if call.body is not None:
            headers.setdefault("Content-Type", "application/json")
            body = json.dumps(call.body, ensure_ascii=False, separators=(",", ":")).encode()
        if call.key is not None:
            headers["Idempotency-Key"] = call.key
        left = max(ends_at - self.policy.clock.monotonic(), 0.001)
        path = self._transport.prefix + call.path + _query(call.query)
        try:
            answer = self._transport.send(call.method, path, headers, body, min(self.policy.timeout_s, left))
        except ConnectionLost as lost:
            self._observed(call, number, None)
            return None, lost
        self._observed(call, number, answer)
        return answer, None

    def _observed(self, call: Call, number: int, answer: Answer | None) -> None:
        if self.policy.observer is None:
            return
        headers = answer.headers if answer else {}
        status = answer.status if answer else None
        replayed = headers.get("idempotent-replayed") == "true"
        self.policy.observer(Attempt(call.method, call.path, number, status, headers.get("x-request-id"), replayed))


def _in_flight(answer: Answer) -> bool:
    return answer.status == 409 and isinstance(answer.body, dict) and answer.body.get("reason") == "idempotency_in_flight"


def _retry_after(answer: Answer | None) -> float | None:
    text = answer.headers.get("retry-after", "") if answer else ""
    return float(text) if text.isascii() and text.isdigit() else None


def _wait(answer: Answer | None, bound_s: float, most_s: float) -> float:
    """Seconds until the next attempt: never before `Retry-After`, and not all clients at once."""
    bound = min(bound_s, most_s)
    asked = _retry_after(answer)
    if asked is not None:
        return asked + random.uniform(0, min(bound, 1.0))
    return random.uniform(bound / 2, bound)


def _query(query: Mapping[str, Any] | None) -> str:
    given = {name: value for name, value in (query or {}).items() if value is not None}
    return "?" + urlencode(given) if given else ""


def _gateway_unavailable(state: Mapping[str, Any], answer: Answer) -> dict[str, Any]:
    return {
        "type": "https://holdfast.dev/problems/gateway_unavailable",
        "title": "The payment gateway is unavailable",
        "status": 503,
        "reason": "gateway_unavailable",
        "detail": "The payment gateway could not be reached in time. Nothing was charged.",
        "request_id": answer.headers.get("x-request-id", ""),
        "purchase_id": state["purchase_id"],
    }

