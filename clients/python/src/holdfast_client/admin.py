"""What an operator calls: terms, refunds, reviews, and what is known. The key has the role `admin`.

Where `server.admin_listen` is set, `base_url` is that listener's.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Any, Generic, Iterator, Literal, Mapping, TypeVar

from .calls import Call, Caller, Policy, key_of, segment
from .shop import PAYING
from .types import (
    AdminProduct,
    AdminPromotion,
    AdminPurchase,
    AuditEvent,
    Buyer,
    BuyerRiskFacts,
    OpenPayment,
    OpenState,
    ProductPatch,
    ProductSet,
    PromotionPatch,
    PromotionSet,
    Purchase,
    Refund,
    RefundOrder,
    Review,
    Status,
)

T = TypeVar("T")


@dataclass(frozen=True)
class Versioned(Generic[T]):
    """Terms with their entity tag: pass it as `if_match` to change only what you read."""

    value: T
    etag: str


class Admin:
    """An operator's calls to one core. May be used by several threads; `close` it, or use it in a `with`."""

    def __init__(
        self, base_url: str, api_key: str, *, policy: Policy | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        self._caller = Caller(base_url, api_key, policy, tls)

    def __enter__(self) -> Admin:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._caller.close()

    def product(self, product_id: str) -> Versioned[AdminProduct]:
        """A product's terms."""
        return self._terms("GET", f"/admin/products/{segment(product_id)}")

    def products(self, *, page_size: int | None = None) -> Iterator[AdminProduct]:
        """All products, ordered by id."""
        return self._caller.pages("/admin/products", "products", {"limit": page_size})

    def put_product(
        self, product_id: str, terms: ProductSet, *, if_match: str | None = None, if_none_match: str | None = None
    ) -> Versioned[AdminProduct]:
        """Creates or replaces a product. `if_none_match="*"`: only creates."""
        return self._terms("PUT", f"/admin/products/{segment(product_id)}", terms, if_match, if_none_match)

    def patch_product(
        self, product_id: str, patch: ProductPatch, *, if_match: str | None = None
    ) -> Versioned[AdminProduct]:
        """Changes some terms; None removes a limit or an optional field."""
        return self._terms("PATCH", f"/admin/products/{segment(product_id)}", patch, if_match)

    def change_stock(self, product_id: str, add: int, *, if_match: str | None = None) -> Versioned[AdminProduct]:
        """Adds units to the total, or takes some away. Not repeated where no answer came."""
        return self._terms("POST", f"/admin/products/{segment(product_id)}/stock", {"add": add}, if_match)

    def promotion(self, code: str) -> Versioned[AdminPromotion]:
        """A promotion's terms and uses."""
        return self._terms("GET", f"/admin/promotions/{segment(code)}")

    def promotions(self, *, page_size: int | None = None) -> Iterator[AdminPromotion]:
        """All promotions, ordered by code."""
        return self._caller.pages("/admin/promotions", "promotions", {"limit": page_size})

    def put_promotion(
        self, code: str, terms: PromotionSet, *, if_match: str | None = None, if_none_match: str | None = None
    ) -> Versioned[AdminPromotion]:
        """Creates or replaces a promotion. `if_none_match="*"`: only creates."""
        return self._terms("PUT", f"/admin/promotions/{segment(code)}", terms, if_match, if_none_match)

    def patch_promotion(
        self, code: str, patch: PromotionPatch, *, if_match: str | None = None
    ) -> Versioned[AdminPromotion]:
        """Changes some terms; None removes a limit or an optional field."""
        return self._terms("PATCH", f"/admin/promotions/{segment(code)}", patch, if_match)

    def purchase(self, purchase_id: str) -> AdminPurchase:
        """Everything known about a purchase."""
        return self._get(f"/admin/purchases/{segment(purchase_id)}")

    def refund(
        self, purchase_id: str, order: RefundOrder, *, key: str | None = None, deadline_s: float | None = None
    ) -> Refund:
        """Refunds captured money, and returns the refund once the gateway has made it."""
        path = f"/admin/purchases/{segment(purchase_id)}/refunds"
        call = Call("POST", path, body=order, key=key_of(key), deadline_s=deadline_s)
        is_final = lambda refund: refund["status"] != "pending"  # noqa: E731
        return self._caller.settled(call, is_final, lambda refund: refund["status"] != "failed")

    def refunds(self, purchase_id: str) -> list[Refund]:
        """All refunds of a purchase, failed ones included."""
        return self._get(f"/admin/purchases/{segment(purchase_id)}/refunds")["refunds"]

    def refund_by_number(self, purchase_id: str, number: int) -> Refund:
        return self._get(f"/admin/purchases/{segment(purchase_id)}/refunds/{number}")

    def void(self, purchase_id: str, *, deadline_s: float | None = None) -> Purchase:
        """Voids an authorization that is not captured. The answer may be repeated."""
        call = Call("POST", f"/admin/purchases/{segment(purchase_id)}/void", body={}, deadline_s=deadline_s)
        return self._decided(call)

    def settle(
        self, purchase_id: str, as_: Literal["captured", "voided"], note: str, *, deadline_s: float | None = None
    ) -> Purchase:
        """Settles a stuck purchase: books what the gateway took, or gives it back."""
        path = f"/admin/purchases/{segment(purchase_id)}/settle"
        body = {"as": as_, "note": note}
        return self._decided(Call("POST", path, body=body, repeatable=False, deadline_s=deadline_s))

    def reviews(self, *, page_size: int | None = None) -> Iterator[Review]:
        """Purchases under review, earliest deadline first."""
        return self._caller.pages("/admin/reviews", "reviews", {"limit": page_size})

    def approve_review(self, purchase_id: str, note: str, *, deadline_s: float | None = None) -> Purchase:
        """Captures a purchase under review."""
        return self._reviewed(purchase_id, "approve", note, deadline_s)

    def reject_review(self, purchase_id: str, note: str, *, deadline_s: float | None = None) -> Purchase:
        """Voids a purchase under review, and returns its units."""
        return self._reviewed(purchase_id, "reject", note, deadline_s)

    def open_payments(self, *, state: OpenState | None = None, page_size: int | None = None) -> Iterator[OpenPayment]:
        """Payments and refunds in progress or stuck; stuck ones first."""
        return self._caller.pages("/admin/payments", "payments", {"state": state, "limit": page_size})

    def user(self, user_id: str) -> Buyer:
        """Everything known about a buyer."""
        return self._get(f"/admin/users/{segment(user_id)}")

    def user_purchases(self, user_id: str, *, page_size: int | None = None) -> Iterator[Purchase]:
        """A buyer's holds and purchases, in the order of their creation."""
        return self._caller.pages(f"/admin/users/{segment(user_id)}/purchases", "purchases", {"limit": page_size})

    def pause_user(self, user_id: str, until: str, reason: str) -> BuyerRiskFacts:
        """Refuses a buyer's holds and buys until an instant (RFC 3339)."""
        path = f"/admin/users/{segment(user_id)}/pause"
        return self._caller.call(Call("POST", path, body={"until": until, "reason": reason})).body

    def resume_user(self, user_id: str) -> BuyerRiskFacts:
        """Ends a buyer's pause."""
        return self._caller.call(Call("DELETE", f"/admin/users/{segment(user_id)}/pause")).body

    def audit(self, **filters: str | int) -> Iterator[AuditEvent]:
        """The trail: `kind`, `user_id`, `purchase_id`, `from_lsn`, `to_lsn`, `order`, `act`, `by`, `limit`.

        `from` and `to` are words of Python: pass them as `**{"from": "2026-11-22T10:00:00Z"}`.
        """
        return self._caller.pages("/admin/audit", "events", filters)

    def status(self) -> Status:
        """Log, snapshots, sinks, sizes, and the units of each product."""
        return self._get("/admin/status")

    def _get(self, path: str) -> Any:
        return self._caller.call(Call("GET", path)).body

    def _terms(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        if_match: str | None = None,
        if_none_match: str | None = None,
    ) -> Versioned[Any]:
        given = {"If-Match": if_match, "If-None-Match": if_none_match}
        headers = {name: value for name, value in given.items() if value is not None}
        if method == "PATCH":
            headers["Content-Type"] = "application/merge-patch+json"
        # A repetition after a change that took effect would fail its own condition, or add twice.
        repeatable = method == "GET" or (method != "POST" and not given.keys() & headers.keys())
        answer = self._caller.call(Call(method, path, body=body, headers=headers, repeatable=repeatable))
        return Versioned(answer.body, answer.headers.get("etag", ""))

    def _reviewed(self, purchase_id: str, decision: str, note: str, deadline_s: float | None) -> Purchase:
        path = f"/admin/reviews/{segment(purchase_id)}/{decision}"
        return self._decided(Call("POST", path, body={"note": note}, repeatable=False, deadline_s=deadline_s))

    def _decided(self, call: Call) -> Purchase:
        is_final = lambda purchase: purchase["status"] not in PAYING  # noqa: E731
        return self._caller.settled(call, is_final, lambda _: True)
