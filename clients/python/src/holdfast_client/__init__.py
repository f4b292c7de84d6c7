"""Client of holdfast, the purchase core for limited drops.

`Shop` sells, `Admin` operates; `verify_receipt` and `verify_webhook` need no core. A refusal raises
`Refused` with its reason and facts.
"""

from .admin import Admin, Versioned
from .calls import Attempt, Policy
from .errors import HoldfastError, PaymentDeclined, Pending, ProtocolError, Refused, Unreachable
from .receipts import KeysUnread, verify_receipt
from .shop import Shop
from .webhooks import Webhook, WebhookRefused, verify_webhook

__all__ = [
    "Admin",
    "Attempt",
    "HoldfastError",
    "KeysUnread",
    "PaymentDeclined",
    "Pending",
    "Policy",
    "ProtocolError",
    "Refused",
    "Shop",
    "Unreachable",
    "Versioned",
    "Webhook",
    "WebhookRefused",
    "verify_receipt",
    "verify_webhook",
]
