"""What a shop calls: holds, buys, reads. The key has the role `shop`; `admin` may read."""

from __future__ import annotations

import ssl
from typing import Any, Iterator, Mapping

from .calls import Call, Caller, Policy, key_of, segment
from .types import BuyOrder, Hold, HoldOrder, KeySet, Product, Purchase, Receipt, Rewards, Spent, Verdict

# A payment in these states goes on without us; `stuck` waits for an operator.
PAYING = {"authorizing", "authorized", "under_review", "capturing", "voiding", "stuck"}
# The money was captured, whatever became of it.
PAID = {"captured", "partially_refunded", "refunded", "disputed", "charged_back"}


class Shop:
    """A shop's calls to one core. May be used by several threads; `close` it, or use it in a `with`."""

    def __init__(
        self, base_url: str, api_key: str, *, policy: Policy | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        self._caller = Caller(base_url, api_key, policy, tls)

    def __enter__(self) -> Shop:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._caller.close()

    def place_hold(self, order: HoldOrder, *, key: str | None = None, deadline_s: float | None = None) -> Hold:
        """Holds units for a buyer, at the price of now."""
        return self._post("/limited/holds", order, key, deadline_s)

    def hold(self, hold_id: str, *, user_id: str | None = None) -> Hold:
        """A hold; with `user_id`, only if it is that buyer's."""
        return self._get(f"/limited/holds/{segment(hold_id)}", {"user_id": user_id})

    def release_hold(self, hold_id: str, *, user_id: str | None = None) -> Hold:
        """Gives a hold back. A repetition gets the same answer."""
        call = Call("DELETE", f"/limited/holds/{segment(hold_id)}", query={"user_id": user_id})
        return self._caller.call(call).body

    def buy(self, order: BuyOrder, *, key: str | None = None, deadline_s: float | None = None) -> Purchase:
        """Buys, and returns the paid purchase with its receipt.

        Raises `PaymentDeclined`, another `Refused`, or `Pending` where the deadline passed first: the
        payment goes on, or a person reviews it. The same call with the error's key continues.
        """
        call = Call("POST", "/limited/buy", body=order, key=key_of(key), deadline_s=deadline_s)
        is_final = lambda purchase: purchase["status"] not in PAYING  # noqa: E731
        return self._caller.settled(call, is_final, lambda purchase: purchase["status"] in PAID)

    def purchase(self, purchase_id: str, *, user_id: str | None = None) -> Purchase:
        """A purchase with its history; with `user_id`, only if it is that buyer's."""
        return self._get(f"/limited/purchases/{segment(purchase_id)}", {"user_id": user_id})

    def product(self, product_id: str) -> Product:
        """A product with its stock."""
        return self._get(f"/limited/products/{segment(product_id)}")

    def products(self, *, page_size: int | None = None) -> Iterator[Product]:
        """All products, ordered by id; pages are read as they are needed."""
        return self._caller.pages("/limited/products", "products", {"limit": page_size})

    def receipt(self, receipt_id: str, *, user_id: str | None = None) -> Receipt:
        """The receipt of a captured purchase."""
        return self._get(f"/limited/receipts/{segment(receipt_id)}", {"user_id": user_id})

    def verify_receipt(self, receipt: Mapping[str, Any]) -> Verdict:
        """What the core finds of a receipt. `verify_receipt` of this package needs no core."""
        return self._caller.call(Call("POST", "/receipts/verify", body=receipt)).body

    def jwks(self) -> KeySet:
        """The public keys of receipts; may be kept for an hour."""
        return self._get("/.well-known/jwks.json")

    def rewards(self, user_id: str) -> Rewards:
        """A buyer's reward tokens."""
        return self._get(f"/limited/rewards/{segment(user_id)}")

    def spend_rewards(
        self, user_id: str, tokens: int, *, key: str | None = None, deadline_s: float | None = None
    ) -> Spent:
        """Takes reward tokens of a buyer, all or none."""
        return self._post(f"/limited/rewards/{segment(user_id)}/spend", {"tokens": tokens}, key, deadline_s)

    def _get(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        return self._caller.call(Call("GET", path, query=query)).body

    def _post(self, path: str, body: Any, key: str | None, deadline_s: float | None) -> Any:
        return self._caller.call(Call("POST", path, body=body, key=key_of(key), deadline_s=deadline_s)).body
