"""What a call can end with beside its result."""

from __future__ import annotations

from typing import Any, Mapping, cast

from .types import Declined, HoldLeft, Problem


class HoldfastError(Exception):
    """Every error of this client.

    `idempotency_key` is the key of the call, where it has one: the same call with this key is safe.
    """

    def __init__(self, sentence: str, idempotency_key: str | None = None) -> None:
        super().__init__(sentence)
        self.idempotency_key = idempotency_key


class Refused(HoldfastError):
    """The core refused (RFC 9457). `problem` has the reason and the facts that it is about."""

    def __init__(
        self, problem: Problem, idempotency_key: str | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(f"{problem['reason']} ({problem['status']}): {problem['detail']}", idempotency_key)
        self.problem = problem
        self.status = problem["status"]
        self.retry_after_s = retry_after_s

    @property
    def reason(self) -> str:
        """The word of the refusal; a newer core may have words that `types.Reason` lacks."""
        return self.problem["reason"]

    @property
    def request_id(self) -> str:
        return self.problem["request_id"]


class PaymentDeclined(Refused):
    """The payment was declined and nothing is charged. `hold` is the hold, if it stays open."""

    @property
    def declined(self) -> Declined:
        return cast(Declined, self.problem)

    @property
    def retry_advice(self) -> str | None:
        """`never`, `other_card` or `later`."""
        return self.declined.get("retry_advice")

    @property
    def hold(self) -> HoldLeft | None:
        return self.declined.get("hold")


class Unreachable(HoldfastError):
    """No answer came. Whether the request took effect is not known: repeat it with its key."""


class Pending(HoldfastError):
    """The deadline passed before the outcome was known; the core carries on.

    `state` is what was last read, `location` where to read it again.
    """

    def __init__(self, state: Mapping[str, Any], location: str, idempotency_key: str | None) -> None:
        super().__init__(f"{location} is still {state.get('status', 'in progress')}", idempotency_key)
        self.state = state
        self.location = location


class ProtocolError(HoldfastError):
    """The answer is not one of holdfast's: another server, or a proxy in between."""


def refused(
    problem: Mapping[str, Any], idempotency_key: str | None, retry_after_s: float | None = None
) -> Refused:
    """The error for a problem document."""
    kind = PaymentDeclined if problem["reason"] == "payment_declined" else Refused
    return kind(cast(Problem, problem), idempotency_key, retry_after_s)
