"""Buys, replays, refunds and verifies with the generated Python client.

usage: shop.py BASE_URL, with the generated package `holdfast_client` beside the working directory.
Prints one JSON object: what the test compares with the core's own answers.
"""

import json
import sys

from holdfast_client import AuthenticatedClient, Client
from holdfast_client.api.admin import refund
from holdfast_client.api.shop import buy, product, purchase, verify_receipt
from holdfast_client.models import (
    BuyOrder,
    Declined,
    DeclinedRetryAdvice,
    ProblemReason,
    PurchaseStatus,
    RefundOrder,
)

BASE_URL = sys.argv[1]
shop = AuthenticatedClient(base_url=BASE_URL, token="demo-shop-key", raise_on_unexpected_status=True)
admin = AuthenticatedClient(base_url=BASE_URL, token="demo-admin-key", raise_on_unexpected_status=True)
anybody = Client(base_url=BASE_URL, raise_on_unexpected_status=True)


def order(card_token):
    return BuyOrder(
        user_id="python", product_id="drop-1", quantity=1, currency="USD", card_token=card_token
    )


first = buy.sync_detailed(client=shop, body=order("tok_ok"), idempotency_key="python-buy-1")
assert first.status_code == 201, first
bought = first.parsed
assert bought.status is PurchaseStatus.CAPTURED, bought
assert bought.amount.value == 1999 and bought.amount.currency == "USD", bought

again = buy.sync_detailed(client=shop, body=order("tok_ok"), idempotency_key="python-buy-1")
assert again.headers["Idempotent-Replayed"] == "true", again
assert again.parsed == bought

declined = buy.sync(client=shop, body=order("tok_declined"), idempotency_key="python-buy-2")
assert isinstance(declined, Declined) and declined.status == 402, declined
assert declined.retry_advice is DeclinedRetryAdvice.LATER, declined
assert declined.code == "generic_decline", declined
assert declined.reason is ProblemReason.PAYMENT_DECLINED, declined

verdict = verify_receipt.sync(client=anybody, body=bought.receipt)
assert verdict.valid and verdict.reason == "genuine", verdict

back = refund.sync(
    bought.purchase_id,
    client=admin,
    body=RefundOrder(amount=500, previously_refunded=0, reason="damaged"),
    idempotency_key="python-refund-1",
)
assert back.status == "succeeded" and back.refunded_amount == 500, back

after = purchase.sync(bought.purchase_id, client=shop)
assert after.status is PurchaseStatus.PARTIALLY_REFUNDED, after
stock = product.sync("drop-1", client=shop).stock

print(json.dumps({"purchase_id": bought.purchase_id, "sold": stock.sold}))
