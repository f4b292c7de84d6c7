"""The objects of the HTTP API. Generated from docs/openapi.yaml by `./dev clients generate`."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict


OpenState = Literal[
    "authorizing",
    "authorized",
    "capturing",
    "voiding",
    "stuck",
    "refund_pending",
]


PurchaseStatus = Literal[
    "held",
    "authorizing",
    "authorized",
    "under_review",
    "capturing",
    "captured",
    "declined",
    "expired",
    "released",
    "voiding",
    "voided",
    "stuck",
    "partially_refunded",
    "refunded",
    "disputed",
    "charged_back",
]


Reason = Literal[
    "invalid_request",
    "currency_not_allowed",
    "invalid_card_token",
    "idempotency_key_missing",
    "unauthorized",
    "forbidden",
    "payment_declined",
    "not_found",
    "product_not_found",
    "hold_not_found",
    "purchase_not_found",
    "promotion_not_found",
    "receipt_not_found",
    "method_not_allowed",
    "precondition_failed",
    "request_timeout",
    "sold_out",
    "sale_not_started",
    "sale_ended",
    "sale_inactive",
    "per_user_limit",
    "daily_limit",
    "lifetime_limit",
    "promotion_exhausted",
    "promotion_not_applicable",
    "hold_expired",
    "hold_closed",
    "idempotency_in_flight",
    "stock_below_committed",
    "promotion_below_used",
    "wrong_state",
    "body_too_large",
    "unsupported_media_type",
    "idempotency_key_reused",
    "rate_limited",
    "overloaded",
    "storage_unavailable",
    "receipt_unavailable",
    "not_ready",
    "events_forgotten",
    "refund_conflict",
    "refund_exceeds_captured",
    "refund_failed",
    "refund_not_found",
    "risk_blocked",
    "user_not_found",
    "not_enough_tokens",
    "card_retry_forbidden",
    "gateway_unavailable",
    "invalid_signature",
    "stale_timestamp",
    "replayed_nonce",
    "idempotency_outcome_elsewhere",
    "amount_not_payable",
]


RetryAdvice = Literal[
    "never",
    "other_card",
    "later",
]


SealCheck = Literal[
    "genuine",
    "absent",
    "not_checked",
    "unknown_key",
    "mismatch",
]



class AdminProduct(TypedDict):
    product_id: str
    name: str
    price: dict[str, int]
    starts_at: str | None
    ends_at: str | None
    active: bool
    status: Literal["upcoming", "open", "sold_out", "ended", "inactive"]
    stock: ProductStock
    per_user_limit: int | None
    hold_ttl_s: int | None
    reward_tokens: int


class AdminPromotion(TypedDict):
    code: str
    percent_off: int | None
    amount_off: dict[str, int] | None
    uses_max: int
    uses: int
    uses_per_user_max: int | None
    product_ids: list[str] | None
    segments: list[str] | None
    starts_at: str | None
    ends_at: str | None
    active: bool


class AdminPurchase(TypedDict):
    purchase_id: str
    user_id: str
    product_id: str
    quantity: int
    currency: str
    unit_price: Money
    discount: Money
    amount: Money
    refunded_amount: Money
    # The amount of lost disputes
    charged_back_amount: Money
    # In the order in which holdfast learned of them
    disputes: list[PurchaseDispute]
    promotion_code: str | None
    metadata: dict[str, str]
    status: PurchaseStatus
    reason: str | None
    created_at: str
    updated_at: str
    gateway: PurchaseGateway
    receipt: Receipt | None
    # Only if there is a receipt and it cannot be shown, because the key that sealed it is not configured
    receipt_unavailable: NotRequired[PurchaseReceiptUnavailable]
    history: list[PurchaseHistory]
    # Our reference; search for it at the gateway
    gateway_reference: str | None
    # The request that started the payment
    request_id: str | None
    capture_before: str | None
    void_deadline: str | None
    # Why the purchase is or was under review
    review: AdminPurchaseReview | None
    refunds: list[Refund]
    dispute: AdminPurchaseDispute | None
    reward_tokens: AdminPurchaseRewardTokens


class AdminPurchaseDispute(TypedDict):
    # When the latest event of the dispute happened, by the gateway's clock
    happened_at: str


class AdminPurchaseReview(TypedDict):
    """Why the purchase is or was under review."""

    reasons: list[str]
    # Null once it is decided
    deadline: str | None


class AdminPurchaseRewardTokens(TypedDict):
    granted: int
    asked_back: int


class AuditEvent(TypedDict):
    lsn: int
    at: str
    kind: str
    # The trace of the request that it came by (W3C Trace Context), if that had one
    traceparent: NotRequired[str]
    request_id: NotRequired[str]
    key_owner: NotRequired[str]
    # The role of the key behind an administrative act; `process`: a signal
    role: NotRequired[Literal["shop", "admin", "auditor", "metrics", "process"]]
    act: NotRequired[str]
    target: NotRequired[str | None]
    # The target before the act, as JSON
    before: NotRequired[Any]
    # The target after the act, as JSON
    after: NotRequired[Any]
    reason: NotRequired[str | None]
    # Number of refused acts before this one that were not logged
    left_out: NotRequired[int]


class BuyOrder(TypedDict):
    user_id: str
    product_id: str
    quantity: int
    currency: str
    # The gateway's token. A card number is refused and never stored; see docs/security.md
    card_token: str
    promotion_code: NotRequired[str | None]
    hold_id: NotRequired[str | None]
    # IPv4 or IPv6. Counted in canonical form: IPv4-mapped IPv6 as IPv4, other IPv6 by its /64. Stored as sent
    ip: NotRequired[str | None]
    device_id: NotRequired[str | None]
    metadata: NotRequired[dict[str, str] | None]


class Buyer(TypedDict):
    user_id: str
    # Units of open holds and standing purchases
    committed: list[BuyerCommitted]
    # Attempts in the current window of the rate limit
    attempts_in_window: int
    tokens: BuyerTokens
    # Number of purchases, payments in progress included
    purchases: int
    # The segment that rules and promotions use: the one set by the operator, otherwise the computed one
    segment: str | None
    # Per currency, the amount bought (payments in progress included) and the limit
    spending: list[BuyerSpending]
    account_since: str | None
    # The buyer's counters that the current risk rules use; absent in a review
    velocity: NotRequired[list[BuyerVelocity]]
    risk: BuyerRisk


class BuyerCommitted(TypedDict):
    product_id: str
    units: int


class BuyerRisk(TypedDict):
    score: int | None
    # `model`: the latest score of a model; `operator`: the operator's, if no model gave one
    score_source: Literal["model", "operator"] | None
    profile: RiskProfile | None


class BuyerRiskFacts(TypedDict):
    user_id: str
    # The segment that rules and promotions use: the one set by the operator, otherwise the computed one
    effective_segment: str | None
    # The segment computed from the buyer's purchases
    computed: BuyerRiskFactsComputed | None
    pause: BuyerRiskFactsPause | None
    segment: str | None
    risk_score: int | None
    account_since: str | None


class BuyerRiskFactsComputed(TypedDict):
    """The segment computed from the buyer's purchases."""

    segment: str
    # The run that computed it: its row in `segment_runs`
    run: int
    at: str


class BuyerRiskFactsPause(TypedDict):
    until: str
    reason: str


class BuyerSpending(TypedDict):
    currency: str
    today: int
    # Minor units; null: no limit
    daily_limit: int | None
    lifetime: int
    # Minor units; null: no limit
    lifetime_limit: int | None


class BuyerTokens(TypedDict):
    balance: int
    # Tokens of refunded purchases that were already spent; tokens granted later pay it off first
    debt: int


class BuyerVelocity(TypedDict):
    counter: str
    # The window
    last_s: int
    count: int
    # The counter stops here: this value means at least this many
    counted_up_to: int


class Declined(TypedDict):
    """
    `payment_declined` has every field except perhaps `hold` and `returned`; `card_retry_forbidden` has
    `retry_advice`, the declines that count, `retry_at` and perhaps `hold`
    """

    type: str
    title: str
    status: int
    reason: Reason
    # A sentence with the figures that the other fields carry; the same when a refusal is repeated under its key
    detail: str
    # The request that was refused; for a replayed response, the first request
    request_id: str
    errors: NotRequired[list[ProblemError]]
    # Of `not_found`: the id in the path, for routes that have one
    id: NotRequired[str]
    # Of `product_not_found`: the requested product. With `hold_id` of another product or quantity: the product of the
    # order
    product_id: NotRequired[str]
    # Of `promotion_not_found`: the requested code
    promotion_code: NotRequired[str]
    # Of `events_forgotten`: where the log begins
    first_lsn: NotRequired[int]
    # Of `user_not_found`: the requested user
    user_id: NotRequired[str]
    # Of `receipt_not_found`: the requested receipt
    receipt_id: NotRequired[str]
    # With `hold_id` of another product or quantity: the quantity of the order
    quantity: NotRequired[int]
    # With `hold_id` of another product or quantity: what the hold is for
    held: NotRequired[ProblemHeld]
    # Of `currency_not_allowed`: the currencies that the shop accepts, or in which the product or the hold has a
    # price, as `cause` says. Of `promotion_not_applicable` with the cause `currency`: those in which the promotion
    # gives a discount. At most 8 of a product, hold or promotion
    currencies: NotRequired[list[str]]
    # Of `forbidden`: the role of the API key
    role: NotRequired[str]
    # Of `forbidden`: the roles that may do this
    roles_needed: NotRequired[list[str]]
    # Of `body_too_large`: the maximum
    bytes_max: NotRequired[int]
    # Of `unsupported_media_type`, if the body has a `Content-Encoding`: the codings that are supported
    accept_encoding: NotRequired[list[str]]
    purchase_id: NotRequired[str]
    # Of `hold_not_found`, `hold_expired` and `hold_closed`, and if the hold is for another product or quantity
    hold_id: NotRequired[str]
    # Of `hold_closed` and `wrong_state`: the status of the hold or purchase
    state: NotRequired[str]
    # Of `precondition_failed`: the current entity tag; null if the resource does not exist
    etag: NotRequired[str | None]
    # Of `stock_below_committed`: units held and sold
    committed: NotRequired[int]
    # Of `stock_below_committed`: the current total, held, sold and available units
    stock: NotRequired[dict[str, Any]]
    # Of `promotion_below_used` and `promotion_exhausted`: the current uses
    uses: NotRequired[int]
    # Of `promotion_below_used` and `promotion_exhausted`: the current maximum of uses
    uses_max: NotRequired[int]
    # What is counted. Of `daily_limit` and `lifetime_limit`: purchases of the user, or with the same card or device.
    # Of `promotion_exhausted`: all uses of the promotion, or those of the user. Of `rate_limited`: the limit that is
    # reached, by its name in the headers
    scope: NotRequired[Literal["user", "card", "device", "promotion", "attempts", "open_holds", "idempotency_keys", "api_key"]]
    # Of `per_user_limit`: units. Of `daily_limit` and `lifetime_limit`: minor units of `currency`. Of `rate_limited`:
    # the maximum of what `scope` names, per `window_s` or at once
    limit: NotRequired[int]
    # The used part of `limit`: units of open holds and standing purchases, or the amount bought in minor units
    used: NotRequired[int]
    # The requested quantity. Of `per_user_limit` and `sold_out`: units. Of `not_enough_tokens`: tokens
    requested: NotRequired[int]
    # Of `sold_out`: units available
    available: NotRequired[int]
    # Of `not_enough_tokens`: tokens that the user can spend
    balance: NotRequired[int]
    # The currency of every amount in the answer; amounts are in minor units
    currency: NotRequired[str]
    # The amount to pay or to refund; null if the hold was already known to be unpayable
    amount: NotRequired[int | None]
    # Of `amount_not_payable`: the smallest amount that the gateway accepts; null: no limit
    amount_min: NotRequired[int | None]
    # Of `amount_not_payable`: the largest amount that the gateway accepts; null: no limit
    amount_max: NotRequired[int | None]
    # Of `amount_not_payable`: amounts must be a multiple of this
    amount_step: NotRequired[int]
    # Of `refund_exceeds_captured`: the captured amount
    captured: NotRequired[int]
    # Of `refund_exceeds_captured` and `refund_conflict`: the amount refunded so far
    refunded_amount: NotRequired[int]
    # Of `refund_exceeds_captured` and `refund_conflict`: the amount that can still be refunded, without what is
    # disputed
    left: NotRequired[int]
    # Of `refund_conflict`: the amount refunded so far is not `previously_refunded`, another refund is in progress,
    # `restock` is set on a refund that leaves something, or the purchase has 100 refunds and this one leaves
    # something
    conflict: NotRequired[Literal["previously_refunded", "under_way", "restock", "too_many"]]
    # Of `sale_not_started`, `sale_ended` and `sale_inactive`, and of a promotion that has not started
    starts_at: NotRequired[str | None]
    # The same, and of a promotion that has ended
    ends_at: NotRequired[str | None]
    # Of `hold_expired`: when it expired
    expires_at: NotRequired[str]
    # Of `currency_not_allowed`: the currency is none of the shop's, or the product, or the hold to be paid, has no
    # price in it. Of `promotion_not_applicable`: it is inactive, outside its window, for other products or segments,
    # without discount in this currency, or not the promotion of the hold
    cause: NotRequired[Literal["inactive", "not_started", "ended", "product", "segment", "currency", "hold", "shop"]]
    # Of `rate_limited`: the window in seconds; absent: at once. Of `card_retry_forbidden`: how long a decline counts
    window_s: NotRequired[int]
    # Of `card_retry_forbidden`: declines of this card for this user that count
    declines: NotRequired[int]
    # Of `card_retry_forbidden`: declines with the advice `later` after which the card is refused
    declines_max: NotRequired[int]
    # Of `card_retry_forbidden`: from when the card may be tried again
    retry_at: NotRequired[str]
    # Of `refund_failed` and `refund_not_found`: the number of the refund
    number: NotRequired[int]
    # The gateway's code, if it gave one
    code: NotRequired[str | None]
    # Of `wrong_state` of segments: no database is configured for them
    configured: NotRequired[bool]
    # `never`: do not use this card again; `other_card`: use another card, or enter this one again; `later`: try the
    # same card later
    retry_advice: NotRequired[RetryAdvice]
    # The hold, if it stays open; pay for it with a new idempotency key
    hold: NotRequired[HoldLeft]
    # The amount that the gateway captured nevertheless and has refunded; absent if nothing was charged
    returned: NotRequired[Returned]


class Generation(TypedDict):
    """
    Identifies this history of the log. The number is larger after each restore or accepted copy; the tag
    distinguishes histories of the same number
    """

    number: int
    tag: str


class Hold(TypedDict):
    hold_id: str
    # Present when the hold is read; null until a payment has started
    purchase_id: NotRequired[str | None]
    product_id: str
    quantity: int
    status: PurchaseStatus
    unit_price: Money
    discount: Money
    amount: Money
    expires_at: str


class HoldLeft(TypedDict):
    hold_id: str
    expires_at: str


class HoldOrder(TypedDict):
    user_id: str
    product_id: str
    quantity: int
    # The currency of the quote; the promotion must apply to it. Absent: the first currency that the promotion applies
    # to. The hold can be paid in any currency of the product
    currency: NotRequired[str | None]
    promotion_code: NotRequired[str | None]
    # IPv4 or IPv6
    ip: NotRequired[str | None]
    device_id: NotRequired[str | None]
    metadata: NotRequired[dict[str, str] | None]


class KeySet(TypedDict):
    keys: list[PublicKey]


class Money(TypedDict):
    # Minor units
    value: int
    currency: str


class OpenPayment(TypedDict):
    purchase_id: str
    user_id: str
    state: OpenState
    stuck: bool
    since: str
    # The reason of the purchase or of the refund
    reason: str | None
    refund_number: int | None
    amount: int
    currency: str
    void_deadline: str | None
    gateway_reference: str | None


class Problem(TypedDict):
    type: str
    title: str
    status: int
    reason: Reason
    # A sentence with the figures that the other fields carry; the same when a refusal is repeated under its key
    detail: str
    # The request that was refused; for a replayed response, the first request
    request_id: str
    errors: NotRequired[list[ProblemError]]
    # Of `not_found`: the id in the path, for routes that have one
    id: NotRequired[str]
    # Of `product_not_found`: the requested product. With `hold_id` of another product or quantity: the product of the
    # order
    product_id: NotRequired[str]
    # Of `promotion_not_found`: the requested code
    promotion_code: NotRequired[str]
    # Of `events_forgotten`: where the log begins
    first_lsn: NotRequired[int]
    # Of `user_not_found`: the requested user
    user_id: NotRequired[str]
    # Of `receipt_not_found`: the requested receipt
    receipt_id: NotRequired[str]
    # With `hold_id` of another product or quantity: the quantity of the order
    quantity: NotRequired[int]
    # With `hold_id` of another product or quantity: what the hold is for
    held: NotRequired[ProblemHeld]
    # Of `currency_not_allowed`: the currencies that the shop accepts, or in which the product or the hold has a
    # price, as `cause` says. Of `promotion_not_applicable` with the cause `currency`: those in which the promotion
    # gives a discount. At most 8 of a product, hold or promotion
    currencies: NotRequired[list[str]]
    # Of `forbidden`: the role of the API key
    role: NotRequired[str]
    # Of `forbidden`: the roles that may do this
    roles_needed: NotRequired[list[str]]
    # Of `body_too_large`: the maximum
    bytes_max: NotRequired[int]
    # Of `unsupported_media_type`, if the body has a `Content-Encoding`: the codings that are supported
    accept_encoding: NotRequired[list[str]]
    # Of `purchase_not_found` and `refund_not_found`: the requested purchase. Of `idempotency_in_flight`: the purchase
    # whose payment, review or refund is in progress under this key; `Location` is the path to read. Of `wrong_state`
    # and `refund_failed`: the purchase
    purchase_id: NotRequired[str]
    # Of `hold_not_found`, `hold_expired` and `hold_closed`, and if the hold is for another product or quantity
    hold_id: NotRequired[str]
    # Of `hold_closed` and `wrong_state`: the status of the hold or purchase
    state: NotRequired[str]
    # Of `precondition_failed`: the current entity tag; null if the resource does not exist
    etag: NotRequired[str | None]
    # Of `stock_below_committed`: units held and sold
    committed: NotRequired[int]
    # Of `stock_below_committed`: the current total, held, sold and available units
    stock: NotRequired[dict[str, Any]]
    # Of `promotion_below_used` and `promotion_exhausted`: the current uses
    uses: NotRequired[int]
    # Of `promotion_below_used` and `promotion_exhausted`: the current maximum of uses
    uses_max: NotRequired[int]
    # What is counted. Of `daily_limit` and `lifetime_limit`: purchases of the user, or with the same card or device.
    # Of `promotion_exhausted`: all uses of the promotion, or those of the user. Of `rate_limited`: the limit that is
    # reached, by its name in the headers
    scope: NotRequired[Literal["user", "card", "device", "promotion", "attempts", "open_holds", "idempotency_keys", "api_key"]]
    # Of `per_user_limit`: units. Of `daily_limit` and `lifetime_limit`: minor units of `currency`. Of `rate_limited`:
    # the maximum of what `scope` names, per `window_s` or at once
    limit: NotRequired[int]
    # The used part of `limit`: units of open holds and standing purchases, or the amount bought in minor units
    used: NotRequired[int]
    # The requested quantity. Of `per_user_limit` and `sold_out`: units. Of `not_enough_tokens`: tokens
    requested: NotRequired[int]
    # Of `sold_out`: units available
    available: NotRequired[int]
    # Of `not_enough_tokens`: tokens that the user can spend
    balance: NotRequired[int]
    # The currency of every amount in the answer; amounts are in minor units
    currency: NotRequired[str]
    # The amount to pay or to refund; null if the hold was already known to be unpayable
    amount: NotRequired[int | None]
    # Of `amount_not_payable`: the smallest amount that the gateway accepts; null: no limit
    amount_min: NotRequired[int | None]
    # Of `amount_not_payable`: the largest amount that the gateway accepts; null: no limit
    amount_max: NotRequired[int | None]
    # Of `amount_not_payable`: amounts must be a multiple of this
    amount_step: NotRequired[int]
    # Of `refund_exceeds_captured`: the captured amount
    captured: NotRequired[int]
    # Of `refund_exceeds_captured` and `refund_conflict`: the amount refunded so far
    refunded_amount: NotRequired[int]
    # Of `refund_exceeds_captured` and `refund_conflict`: the amount that can still be refunded, without what is
    # disputed
    left: NotRequired[int]
    # Of `refund_conflict`: the amount refunded so far is not `previously_refunded`, another refund is in progress,
    # `restock` is set on a refund that leaves something, or the purchase has 100 refunds and this one leaves
    # something
    conflict: NotRequired[Literal["previously_refunded", "under_way", "restock", "too_many"]]
    # Of `sale_not_started`, `sale_ended` and `sale_inactive`, and of a promotion that has not started
    starts_at: NotRequired[str | None]
    # The same, and of a promotion that has ended
    ends_at: NotRequired[str | None]
    # Of `hold_expired`: when it expired
    expires_at: NotRequired[str]
    # Of `currency_not_allowed`: the currency is none of the shop's, or the product, or the hold to be paid, has no
    # price in it. Of `promotion_not_applicable`: it is inactive, outside its window, for other products or segments,
    # without discount in this currency, or not the promotion of the hold
    cause: NotRequired[Literal["inactive", "not_started", "ended", "product", "segment", "currency", "hold", "shop"]]
    # Of `rate_limited`: the window in seconds; absent: at once. Of `card_retry_forbidden`: how long a decline counts
    window_s: NotRequired[int]
    # Of `card_retry_forbidden`: declines of this card for this user that count
    declines: NotRequired[int]
    # Of `card_retry_forbidden`: declines with the advice `later` after which the card is refused
    declines_max: NotRequired[int]
    # Of `card_retry_forbidden`: from when the card may be tried again
    retry_at: NotRequired[str]
    # Of `refund_failed` and `refund_not_found`: the number of the refund
    number: NotRequired[int]
    # Of `payment_declined` and `refund_failed`: the gateway's code, if it gave one
    code: NotRequired[str | None]
    # Of `wrong_state` of segments: no database is configured for them
    configured: NotRequired[bool]


class ProblemError(TypedDict):
    # The field, a header, or `body` for the whole. A field that is not known is named too, if its name is a plain
    # word
    field: str
    # What the field must be; never the value that was sent
    message: str


class ProblemHeld(TypedDict):
    """With `hold_id` of another product or quantity: what the hold is for."""

    product_id: str
    quantity: int


class Product(TypedDict):
    product_id: str
    name: str
    price: dict[str, int]
    starts_at: str | None
    ends_at: str | None
    active: bool
    status: Literal["upcoming", "open", "sold_out", "ended", "inactive"]
    stock: ProductStock
    per_user_limit: int | None


class ProductPatch(TypedDict):
    name: NotRequired[str]
    price: NotRequired[dict[str, int | None]]
    stock: NotRequired[int]
    per_user_limit: NotRequired[int | None]
    starts_at: NotRequired[str | None]
    ends_at: NotRequired[str | None]
    active: NotRequired[bool]
    hold_ttl_s: NotRequired[int | None]
    reward_tokens: NotRequired[int | None]


class ProductSet(TypedDict):
    name: str
    price: dict[str, int]
    stock: int
    # Null: no limit
    per_user_limit: int | None
    starts_at: str | None
    ends_at: str | None
    active: bool
    hold_ttl_s: NotRequired[int | None]
    reward_tokens: NotRequired[int | None]


class ProductStock(TypedDict):
    total: int
    held: int
    sold: int
    available: int


class PromotionPatch(TypedDict):
    percent_off: NotRequired[int | None]
    amount_off: NotRequired[dict[str, int | None] | None]
    uses_max: NotRequired[int]
    uses_per_user_max: NotRequired[int | None]
    product_ids: NotRequired[list[str] | None]
    segments: NotRequired[list[str] | None]
    starts_at: NotRequired[str | None]
    ends_at: NotRequired[str | None]
    active: NotRequired[bool]


class PromotionSet(TypedDict):
    """Send exactly one of `percent_off` and `amount_off`."""

    percent_off: NotRequired[int | None]
    amount_off: NotRequired[dict[str, int] | None]
    uses_max: int
    # Null: no limit
    uses_per_user_max: int | None
    product_ids: NotRequired[list[str] | None]
    segments: NotRequired[list[str] | None]
    starts_at: str | None
    ends_at: str | None
    active: bool


class PublicKey(TypedDict):
    kty: str
    crv: str
    kid: str
    x: str
    use: str
    alg: str


class Purchase(TypedDict):
    purchase_id: str
    user_id: str
    product_id: str
    quantity: int
    currency: str
    unit_price: Money
    discount: Money
    amount: Money
    refunded_amount: Money
    # The amount of lost disputes
    charged_back_amount: Money
    # In the order in which holdfast learned of them
    disputes: list[PurchaseDispute]
    promotion_code: str | None
    metadata: dict[str, str]
    status: PurchaseStatus
    reason: str | None
    created_at: str
    updated_at: str
    gateway: PurchaseGateway
    receipt: Receipt | None
    # Only if there is a receipt and it cannot be shown, because the key that sealed it is not configured
    receipt_unavailable: NotRequired[PurchaseReceiptUnavailable]
    history: list[PurchaseHistory]


class PurchaseDispute(TypedDict):
    opened_at: str
    amount: Money
    status: Literal["opened", "won", "lost"]


class PurchaseGateway(TypedDict):
    name: str
    authorization_id: str | None
    capture_id: str | None
    # The amount that the gateway is known to have captured. It differs from `amount` while the purchase is `stuck`
    # with reason `captured_amount_differs` or `captured_currency_differs`. `currency` is null if the gateway's
    # currency is not in ISO 4217.
    captured_amount: PurchaseGatewayCapturedAmount | None


class PurchaseGatewayCapturedAmount(TypedDict):
    value: int
    currency: str | None


class PurchaseHistory(TypedDict):
    at: str
    event: str
    lsn: int


class PurchaseReceiptUnavailable(TypedDict):
    """Only if there is a receipt and it cannot be shown, because the key that sealed it is not configured."""

    receipt_id: str
    key_id: str


class Readiness(TypedDict):
    status: Literal["ready", "not_ready"]
    # Null if ready
    reason: Literal["recovering", "stopping", "disk_full", "disk_failing", "restored_copy", "not_leader"] | None
    # What to do
    detail: str | None


class Receipt(TypedDict):
    receipt_id: str
    purchase_id: str
    user_id: str
    product_id: str
    quantity: int
    amount: Money
    captured_at: str
    integrity_hash: str
    key_id: str
    hmac: str
    # Only where there was a signing key at the capture and its secret is still here. With `receipts.sign =
    # "when_read"`, the response to a buy and its replays do not have it; reads do.
    ed25519: NotRequired[ReceiptEd25519]


class ReceiptEd25519(TypedDict):
    """
    Only where there was a signing key at the capture and its secret is still here. With `receipts.sign =
    "when_read"`, the response to a buy and its replays do not have it; reads do.
    """

    key_id: str
    signature: str


class Refund(TypedDict):
    refund_id: str
    purchase_id: str
    number: int
    amount: int
    currency: str
    # `returned`: the gateway failed it after reporting success; the shop has the money
    status: Literal["pending", "succeeded", "failed", "returned"]
    previously_refunded: int
    # The amount of the purchase refunded so far, including this refund if it is `succeeded`
    refunded_amount: int
    reason: str
    # Whether this refund returns the units to the stock
    restock: bool
    # The gateway's code, if it refused
    code: str | None
    # The reward tokens that were taken back; null until the refund succeeded
    clawback: RefundClawback | None
    created_at: str
    settled_at: str | None
    # When a `returned` refund was booked back
    returned_at: NotRequired[str]
    # The request that started it
    request_id: str


class RefundClawback(TypedDict):
    """The reward tokens that were taken back; null until the refund succeeded."""

    requested: int
    recovered: int
    # Tokens that were already spent; the buyer owes them
    shortfall: int


class RefundOrder(TypedDict):
    # Minor units, at most what is left; absent or null: all that is left. 0 is allowed for a free order only
    amount: NotRequired[int | None]
    # Return the units to the stock, because the goods are back. Allowed only on the refund that leaves nothing
    restock: NotRequired[bool | None]
    # Minor units refunded so far: `refunded_amount.value` of the purchase
    previously_refunded: int
    # No control characters, not blank. Text that looks like a card number is refused (`invalid_request`) and never
    # stored.
    reason: str


class Returned(TypedDict):
    # In minor units
    value: int
    # ISO 4217; `null` if the gateway has another currency
    currency: str | None


class Review(TypedDict):
    purchase_id: str
    product_id: str
    quantity: int
    amount: int
    currency: str
    # `amount_over`, or the names of the rules that matched
    reasons: list[str]
    opened_at: str
    age_s: int
    # If nobody has decided by then, `review.on_deadline` decides
    deadline: str
    buyer: Buyer


class Rewards(TypedDict):
    user_id: str
    balance: int
    debt: int


class RiskProfile(TypedDict):
    """The history of a buyer that risk decisions use."""

    first_seen: str
    last_seen: str
    # Holds and buys, without those that left nothing behind, such as one with 429
    attempts: int
    refused: int
    # Captured purchases
    purchases: int
    # Payments declined by the card's issuer
    declines: int
    # Attempts blocked by a rule or a pause
    blocked: int
    reviews_approved: int
    reviews_rejected: int
    disputes: int
    chargebacks: int
    # How often a refund found its reward tokens already spent
    token_shortfalls: int
    tokens_short: int
    # The latest decisions about risk, newest first
    decisions: list[RiskProfileDecision]


class RiskProfileDecision(TypedDict):
    at: str
    outcome: Literal["passed", "to_review", "refused", "approved", "rejected"]
    # For a refusal, its reason; for a review, who decided: `person` or `deadline`
    reason: str | None
    score: int | None
    rules: list[str]


class Sink(TypedDict):
    name: str
    mode: Literal["run", "paused", "given_up"]
    # Whether the last delivery succeeded
    up: bool
    # Why the last delivery failed
    failure: str | None
    cursor_lsn: int
    lag_bytes: int
    age_ms: int
    delivered: int
    rejected: int
    retries: int
    dead_letter_bytes: int
    # In the list of sinks, for endpoints of webhooks
    endpoint: NotRequired[SinkEndpoint]
    # Ranges of the log that were never delivered to this sink
    gaps: list[SinkGap]
    # The newest ranges that the sink had delivered and took back, because the log no longer has them
    lost: list[SinkLost]
    # The sink's cursor, if it belongs to another history of the log; the sink is stopped until this history is
    # accepted
    elsewhere: SinkElsewhere | None


class SinkElsewhere(TypedDict):
    """
    The sink's cursor, if it belongs to another history of the log; the sink is stopped until this history is
    accepted
    """

    # The generation of the log, as NUMBER-TAG
    generation: str
    cursor_lsn: int
    # How the difference was recognized
    why: str


class SinkEndpoint(TypedDict):
    """In the list of sinks, for endpoints of webhooks."""

    url: str
    # Kinds of events that are sent
    events: list[str]
    keys: int
    # whpk_ and base64, for each key of Ed25519
    public_keys: list[str]


class SinkGap(TypedDict):
    from_lsn: int
    to_lsn: int


class SinkLost(TypedDict):
    # The generation of the log, as NUMBER-TAG
    generation: str
    from_lsn: int
    to_lsn: int
    events: int


class Spent(TypedDict):
    user_id: str
    spent: int
    # The balance after this spending
    balance: int


class Status(TypedDict):
    readiness: Readiness
    # For the next page of `conservation`
    next: str | None
    durable_lsn: int
    appended_lsn: int
    first_lsn: int
    snapshot_lsn: int | None
    # Why the last snapshot failed
    snapshot_failure: NotRequired[str | None]
    sinks: NotRequired[list[Sink]]
    disk: NotRequired[StatusDisk]
    log: StatusLog
    buyers: NotRequired[int]
    purchases: NotRequired[int]
    idempotency_keys: NotRequired[int]
    velocity_keys: NotRequired[int]
    connections: NotRequired[int]
    open_payments: NotRequired[int]
    stuck_voids: NotRequired[int]
    differing_captures: NotRequired[int]
    # Purchases under review
    reviews: NotRequired[int]
    gateway: NotRequired[StatusGateway]
    # The status of the backup; null if none is configured
    backup: NotRequired[StatusBackup | None]
    # A summary of `GET /admin/reconcile`
    reconcile: NotRequired[StatusReconcile]
    recovery: dict[str, Any]
    conservation: list[StatusConservation]


class StatusBackup(TypedDict):
    """The status of the backup; null if none is configured."""

    to: str
    up: bool
    failure: str | None
    shipped_lsn: int
    snapshot_lsn: int | None
    lag_bytes: int
    lag_s: int
    failures: int
    gaps: int


class StatusConservation(TypedDict):
    product_id: str
    total: int
    available: int
    held: int
    sold: int


class StatusDisk(TypedDict):
    # null if not known
    free_bytes: int | None
    free_bytes_min: int
    # The longest sync of the last ten seconds, including one in progress
    sync_slowest_ms: int
    # Whether that is longer than a second
    slow: bool


class StatusGateway(TypedDict):
    name: str
    circuit: Literal["closed", "open", "half_open"]


class StatusLog(TypedDict):
    # The unique id of the log; it never changes
    id: str
    generation: Generation
    # Whether this generation may sell: it is the first one, or an operator accepted it
    accepted: bool


class StatusReconcile(TypedDict):
    """A summary of `GET /admin/reconcile`."""

    running: NotRequired[bool]
    last_success_at: NotRequired[str | None]
    result: NotRequired[str | None]
    differences: NotRequired[int | None]


class Unavailable(TypedDict):
    """`gateway_unavailable` has a `purchase_id` if a payment had started."""

    type: str
    title: str
    status: int
    reason: Reason
    # A sentence with the figures that the other fields carry; the same when a refusal is repeated under its key
    detail: str
    # The request that was refused; for a replayed response, the first request
    request_id: str
    errors: NotRequired[list[ProblemError]]
    # Of `not_found`: the id in the path, for routes that have one
    id: NotRequired[str]
    # Of `product_not_found`: the requested product. With `hold_id` of another product or quantity: the product of the
    # order
    product_id: NotRequired[str]
    # Of `promotion_not_found`: the requested code
    promotion_code: NotRequired[str]
    # Of `events_forgotten`: where the log begins
    first_lsn: NotRequired[int]
    # Of `user_not_found`: the requested user
    user_id: NotRequired[str]
    # Of `receipt_not_found`: the requested receipt
    receipt_id: NotRequired[str]
    # With `hold_id` of another product or quantity: the quantity of the order
    quantity: NotRequired[int]
    # With `hold_id` of another product or quantity: what the hold is for
    held: NotRequired[ProblemHeld]
    # Of `currency_not_allowed`: the currencies that the shop accepts, or in which the product or the hold has a
    # price, as `cause` says. Of `promotion_not_applicable` with the cause `currency`: those in which the promotion
    # gives a discount. At most 8 of a product, hold or promotion
    currencies: NotRequired[list[str]]
    # Of `forbidden`: the role of the API key
    role: NotRequired[str]
    # Of `forbidden`: the roles that may do this
    roles_needed: NotRequired[list[str]]
    # Of `body_too_large`: the maximum
    bytes_max: NotRequired[int]
    # Of `unsupported_media_type`, if the body has a `Content-Encoding`: the codings that are supported
    accept_encoding: NotRequired[list[str]]
    purchase_id: NotRequired[str]
    # Of `hold_not_found`, `hold_expired` and `hold_closed`, and if the hold is for another product or quantity
    hold_id: NotRequired[str]
    # Of `hold_closed` and `wrong_state`: the status of the hold or purchase
    state: NotRequired[str]
    # Of `precondition_failed`: the current entity tag; null if the resource does not exist
    etag: NotRequired[str | None]
    # Of `stock_below_committed`: units held and sold
    committed: NotRequired[int]
    # Of `stock_below_committed`: the current total, held, sold and available units
    stock: NotRequired[dict[str, Any]]
    # Of `promotion_below_used` and `promotion_exhausted`: the current uses
    uses: NotRequired[int]
    # Of `promotion_below_used` and `promotion_exhausted`: the current maximum of uses
    uses_max: NotRequired[int]
    # What is counted. Of `daily_limit` and `lifetime_limit`: purchases of the user, or with the same card or device.
    # Of `promotion_exhausted`: all uses of the promotion, or those of the user. Of `rate_limited`: the limit that is
    # reached, by its name in the headers
    scope: NotRequired[Literal["user", "card", "device", "promotion", "attempts", "open_holds", "idempotency_keys", "api_key"]]
    # Of `per_user_limit`: units. Of `daily_limit` and `lifetime_limit`: minor units of `currency`. Of `rate_limited`:
    # the maximum of what `scope` names, per `window_s` or at once
    limit: NotRequired[int]
    # The used part of `limit`: units of open holds and standing purchases, or the amount bought in minor units
    used: NotRequired[int]
    # The requested quantity. Of `per_user_limit` and `sold_out`: units. Of `not_enough_tokens`: tokens
    requested: NotRequired[int]
    # Of `sold_out`: units available
    available: NotRequired[int]
    # Of `not_enough_tokens`: tokens that the user can spend
    balance: NotRequired[int]
    # The currency of every amount in the answer; amounts are in minor units
    currency: NotRequired[str]
    # The amount to pay or to refund; null if the hold was already known to be unpayable
    amount: NotRequired[int | None]
    # Of `amount_not_payable`: the smallest amount that the gateway accepts; null: no limit
    amount_min: NotRequired[int | None]
    # Of `amount_not_payable`: the largest amount that the gateway accepts; null: no limit
    amount_max: NotRequired[int | None]
    # Of `amount_not_payable`: amounts must be a multiple of this
    amount_step: NotRequired[int]
    # Of `refund_exceeds_captured`: the captured amount
    captured: NotRequired[int]
    # Of `refund_exceeds_captured` and `refund_conflict`: the amount refunded so far
    refunded_amount: NotRequired[int]
    # Of `refund_exceeds_captured` and `refund_conflict`: the amount that can still be refunded, without what is
    # disputed
    left: NotRequired[int]
    # Of `refund_conflict`: the amount refunded so far is not `previously_refunded`, another refund is in progress,
    # `restock` is set on a refund that leaves something, or the purchase has 100 refunds and this one leaves
    # something
    conflict: NotRequired[Literal["previously_refunded", "under_way", "restock", "too_many"]]
    # Of `sale_not_started`, `sale_ended` and `sale_inactive`, and of a promotion that has not started
    starts_at: NotRequired[str | None]
    # The same, and of a promotion that has ended
    ends_at: NotRequired[str | None]
    # Of `hold_expired`: when it expired
    expires_at: NotRequired[str]
    # Of `currency_not_allowed`: the currency is none of the shop's, or the product, or the hold to be paid, has no
    # price in it. Of `promotion_not_applicable`: it is inactive, outside its window, for other products or segments,
    # without discount in this currency, or not the promotion of the hold
    cause: NotRequired[Literal["inactive", "not_started", "ended", "product", "segment", "currency", "hold", "shop"]]
    # Of `rate_limited`: the window in seconds; absent: at once. Of `card_retry_forbidden`: how long a decline counts
    window_s: NotRequired[int]
    # Of `card_retry_forbidden`: declines of this card for this user that count
    declines: NotRequired[int]
    # Of `card_retry_forbidden`: declines with the advice `later` after which the card is refused
    declines_max: NotRequired[int]
    # Of `card_retry_forbidden`: from when the card may be tried again
    retry_at: NotRequired[str]
    # Of `refund_failed` and `refund_not_found`: the number of the refund
    number: NotRequired[int]
    # Of `payment_declined` and `refund_failed`: the gateway's code, if it gave one
    code: NotRequired[str | None]
    # Of `wrong_state` of segments: no database is configured for them
    configured: NotRequired[bool]
    # The hold, if it stays open; pay for it with the same idempotency key or a new one
    hold: NotRequired[HoldLeft]


class Verdict(TypedDict):
    """Valid if at least one seal is genuine and none is a mismatch."""

    valid: bool
    key_id: str | None
    reason: Literal["genuine", "too_large", "malformed", "unknown_key", "hash_mismatch", "seal_mismatch", "unsigned", "unknown_signing_key", "signature_mismatch"]
    # Only if the receipt is not valid: the keys that it names and that are not configured here
    missing_keys: NotRequired[list[str]]
    # The result for each seal
    seals: VerdictSeals


class VerdictSeals(TypedDict):
    """The result for each seal."""

    hmac: SealCheck
    ed25519: SealCheck