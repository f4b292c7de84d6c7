// The objects of the HTTP API. Generated from docs/openapi.yaml by `./dev clients generate`.

export interface AdminProduct {
  product_id: string;
  name: string;
  price: { [name: string]: number };
  starts_at: string | null;
  ends_at: string | null;
  active: boolean;
  status: "upcoming" | "open" | "sold_out" | "ended" | "inactive";
  stock: ProductStock;
  per_user_limit: number | null;
  hold_ttl_s: number | null;
  reward_tokens: number;
}

export interface AdminPromotion {
  code: string;
  percent_off: number | null;
  amount_off: { [name: string]: number } | null;
  uses_max: number;
  uses: number;
  uses_per_user_max: number | null;
  product_ids: string[] | null;
  segments: string[] | null;
  starts_at: string | null;
  ends_at: string | null;
  active: boolean;
}

export interface AdminPurchase {
  purchase_id: string;
  user_id: string;
  product_id: string;
  quantity: number;
  currency: string;
  unit_price: Money;
  discount: Money;
  amount: Money;
  refunded_amount: Money;
  /** The amount of lost disputes */
  charged_back_amount: Money;
  /** In the order in which holdfast learned of them */
  disputes: PurchaseDispute[];
  promotion_code: string | null;
  metadata: { [name: string]: string };
  status: PurchaseStatus;
  reason: string | null;
  created_at: string;
  updated_at: string;
  gateway: PurchaseGateway;
  receipt: Receipt | null;
  /** Only if there is a receipt and it cannot be shown, because the key that sealed it is not configured */
  receipt_unavailable?: PurchaseReceiptUnavailable;
  history: PurchaseHistory[];
  /** Our reference; search for it at the gateway */
  gateway_reference: string | null;
  /** The request that started the payment */
  request_id: string | null;
  capture_before: string | null;
  void_deadline: string | null;
  /** Why the purchase is or was under review */
  review: AdminPurchaseReview | null;
  refunds: Refund[];
  dispute: AdminPurchaseDispute | null;
  reward_tokens: AdminPurchaseRewardTokens;
}

export interface AdminPurchaseDispute {
  /** When the latest event of the dispute happened, by the gateway's clock */
  happened_at: string;
}

/** Why the purchase is or was under review */
export interface AdminPurchaseReview {
  reasons: string[];
  /** Null once it is decided */
  deadline: string | null;
}

export interface AdminPurchaseRewardTokens {
  granted: number;
  asked_back: number;
}

export interface AuditEvent {
  lsn: number;
  at: string;
  kind: string;
  /** The trace of the request that it came by (W3C Trace Context), if that had one */
  traceparent?: string;
  request_id?: string;
  key_owner?: string;
  /** The role of the key behind an administrative act; `process`: a signal */
  role?: "shop" | "admin" | "auditor" | "metrics" | "process";
  act?: string;
  target?: string | null;
  /** The target before the act, as JSON */
  before?: unknown;
  /** The target after the act, as JSON */
  after?: unknown;
  reason?: string | null;
  /** Number of refused acts before this one that were not logged */
  left_out?: number;
}

export interface BuyOrder {
  user_id: string;
  product_id: string;
  quantity: number;
  currency: string;
  /** The gateway's token. A card number is refused and never stored; see docs/security.md */
  card_token: string;
  promotion_code?: string | null;
  hold_id?: string | null;
  /** IPv4 or IPv6. Counted in canonical form: IPv4-mapped IPv6 as IPv4, other IPv6 by its /64. Stored as sent */
  ip?: string | null;
  device_id?: string | null;
  metadata?: { [name: string]: string } | null;
}

export interface Buyer {
  user_id: string;
  /** Units of open holds and standing purchases */
  committed: BuyerCommitted[];
  /** Attempts in the current window of the rate limit */
  attempts_in_window: number;
  tokens: BuyerTokens;
  /** Number of purchases, payments in progress included */
  purchases: number;
  /** The segment that rules and promotions use: the one set by the operator, otherwise the computed one */
  segment: string | null;
  /** Per currency, the amount bought (payments in progress included) and the limit */
  spending: BuyerSpending[];
  account_since: string | null;
  /** The buyer's counters that the current risk rules use; absent in a review */
  velocity?: BuyerVelocity[];
  risk: BuyerRisk;
}

export interface BuyerCommitted {
  product_id: string;
  units: number;
}

export interface BuyerRisk {
  score: number | null;
  /** `model`: the latest score of a model; `operator`: the operator's, if no model gave one */
  score_source: "model" | "operator" | null;
  profile: RiskProfile | null;
}

export interface BuyerRiskFacts {
  user_id: string;
  /** The segment that rules and promotions use: the one set by the operator, otherwise the computed one */
  effective_segment: string | null;
  /** The segment computed from the buyer's purchases */
  computed: BuyerRiskFactsComputed | null;
  pause: BuyerRiskFactsPause | null;
  segment: string | null;
  risk_score: number | null;
  account_since: string | null;
}

/** The segment computed from the buyer's purchases */
export interface BuyerRiskFactsComputed {
  segment: string;
  /** The run that computed it: its row in `segment_runs` */
  run: number;
  at: string;
}

export interface BuyerRiskFactsPause {
  until: string;
  reason: string;
}

export interface BuyerSpending {
  currency: string;
  today: number;
  /** Minor units; null: no limit */
  daily_limit: number | null;
  lifetime: number;
  /** Minor units; null: no limit */
  lifetime_limit: number | null;
}

export interface BuyerTokens {
  balance: number;
  /** Tokens of refunded purchases that were already spent; tokens granted later pay it off first */
  debt: number;
}

export interface BuyerVelocity {
  counter: string;
  /** The window */
  last_s: number;
  count: number;
  /** The counter stops here: this value means at least this many */
  counted_up_to: number;
}

/** `payment_declined` has every field except perhaps `hold` and `returned`; `card_retry_forbidden` has `retry_advice`, the declines that count, `retry_at` and perhaps `hold` */
export interface Declined {
  type: string;
  title: string;
  status: number;
  reason: Reason;
  /** A sentence with the figures that the other fields carry; the same when a refusal is repeated under its key */
  detail: string;
  /** The request that was refused; for a replayed response, the first request */
  request_id: string;
  errors?: ProblemError[];
  /** Of `not_found`: the id in the path, for routes that have one */
  id?: string;
  /** Of `product_not_found`: the requested product. With `hold_id` of another product or quantity: the product of the order */
  product_id?: string;
  /** Of `promotion_not_found`: the requested code */
  promotion_code?: string;
  /** Of `events_forgotten`: where the log begins */
  first_lsn?: number;
  /** Of `user_not_found`: the requested user */
  user_id?: string;
  /** Of `receipt_not_found`: the requested receipt */
  receipt_id?: string;
  /** With `hold_id` of another product or quantity: the quantity of the order */
  quantity?: number;
  /** With `hold_id` of another product or quantity: what the hold is for */
  held?: ProblemHeld;
  /** Of `currency_not_allowed`: the currencies that the shop accepts, or in which the product or the hold has a price, as `cause` says. Of `promotion_not_applicable` with the cause `currency`: those in which the promotion gives a discount. At most 8 of a product, hold or promotion */
  currencies?: string[];
  /** Of `forbidden`: the role of the API key */
  role?: string;
  /** Of `forbidden`: the roles that may do this */
  roles_needed?: string[];
  /** Of `body_too_large`: the maximum */
  bytes_max?: number;
  /** Of `unsupported_media_type`, if the body has a `Content-Encoding`: the codings that are supported */
  accept_encoding?: string[];
  purchase_id?: string;
  /** Of `hold_not_found`, `hold_expired` and `hold_closed`, and if the hold is for another product or quantity */
  hold_id?: string;
  /** Of `hold_closed` and `wrong_state`: the status of the hold or purchase */
  state?: string;
  /** Of `precondition_failed`: the current entity tag; null if the resource does not exist */
  etag?: string | null;
  /** Of `stock_below_committed`: units held and sold */
  committed?: number;
  /** Of `stock_below_committed`: the current total, held, sold and available units */
  stock?: { [name: string]: unknown };
  /** Of `promotion_below_used` and `promotion_exhausted`: the current uses */
  uses?: number;
  /** Of `promotion_below_used` and `promotion_exhausted`: the current maximum of uses */
  uses_max?: number;
  /** What is counted. Of `daily_limit` and `lifetime_limit`: purchases of the user, or with the same card or device. Of `promotion_exhausted`: all uses of the promotion, or those of the user. Of `rate_limited`: the limit that is reached, by its name in the headers */
  scope?: "user" | "card" | "device" | "promotion" | "attempts" | "open_holds" | "idempotency_keys" | "api_key";
  /** Of `per_user_limit`: units. Of `daily_limit` and `lifetime_limit`: minor units of `currency`. Of `rate_limited`: the maximum of what `scope` names, per `window_s` or at once */
  limit?: number;
  /** The used part of `limit`: units of open holds and standing purchases, or the amount bought in minor units */
  used?: number;
  /** The requested quantity. Of `per_user_limit` and `sold_out`: units. Of `not_enough_tokens`: tokens */
  requested?: number;
  /** Of `sold_out`: units available */
  available?: number;
  /** Of `not_enough_tokens`: tokens that the user can spend */
  balance?: number;
  /** The currency of every amount in the answer; amounts are in minor units */
  currency?: string;
  /** The amount to pay or to refund; null if the hold was already known to be unpayable */
  amount?: number | null;
  /** Of `amount_not_payable`: the smallest amount that the gateway accepts; null: no limit */
  amount_min?: number | null;
  /** Of `amount_not_payable`: the largest amount that the gateway accepts; null: no limit */
  amount_max?: number | null;
  /** Of `amount_not_payable`: amounts must be a multiple of this */
  amount_step?: number;
  /** Of `refund_exceeds_captured`: the captured amount */
  captured?: number;
  /** Of `refund_exceeds_captured` and `refund_conflict`: the amount refunded so far */
  refunded_amount?: number;
  /** Of `refund_exceeds_captured` and `refund_conflict`: the amount that can still be refunded, without what is disputed */
  left?: number;
  /** Of `refund_conflict`: the amount refunded so far is not `previously_refunded`, another refund is in progress, `restock` is set on a refund that leaves something, or the purchase has 100 refunds and this one leaves something */
  conflict?: "previously_refunded" | "under_way" | "restock" | "too_many";
  /** Of `sale_not_started`, `sale_ended` and `sale_inactive`, and of a promotion that has not started */
  starts_at?: string | null;
  /** The same, and of a promotion that has ended */
  ends_at?: string | null;
  /** Of `hold_expired`: when it expired */
  expires_at?: string;
  /** Of `currency_not_allowed`: the currency is none of the shop's, or the product, or the hold to be paid, has no price in it. Of `promotion_not_applicable`: it is inactive, outside its window, for other products or segments, without discount in this currency, or not the promotion of the hold */
  cause?: "inactive" | "not_started" | "ended" | "product" | "segment" | "currency" | "hold" | "shop";
  /** Of `rate_limited`: the window in seconds; absent: at once. Of `card_retry_forbidden`: how long a decline counts */
  window_s?: number;
  /** Of `card_retry_forbidden`: declines of this card for this user that count */
  declines?: number;
  /** Of `card_retry_forbidden`: declines with the advice `later` after which the card is refused */
  declines_max?: number;
  /** Of `card_retry_forbidden`: from when the card may be tried again */
  retry_at?: string;
  /** Of `refund_failed` and `refund_not_found`: the number of the refund */
  number?: number;
  /** The gateway's code, if it gave one */
  code?: string | null;
  /** Of `wrong_state` of segments: no database is configured for them */
  configured?: boolean;
  /** `never`: do not use this card again; `other_card`: use another card, or enter this one again; `later`: try the same card later */
  retry_advice?: RetryAdvice;
  /** The hold, if it stays open; pay for it with a new idempotency key */
  hold?: HoldLeft;
  /** The amount that the gateway captured nevertheless and has refunded; absent if nothing was charged */
  returned?: Returned;
}

/** Identifies this history of the log. The number is larger after each restore or accepted copy; the tag distinguishes histories of the same number */
export interface Generation {
  number: number;
  tag: string;
}

export interface Hold {
  hold_id: string;
  /** Present when the hold is read; null until a payment has started */
  purchase_id?: string | null;
  product_id: string;
  quantity: number;
  status: PurchaseStatus;
  unit_price: Money;
  discount: Money;
  amount: Money;
  expires_at: string;
}

export interface HoldLeft {
  hold_id: string;
  expires_at: string;
}

export interface HoldOrder {
  user_id: string;
  product_id: string;
  quantity: number;
  /** The currency of the quote; the promotion must apply to it. Absent: the first currency that the promotion applies to. The hold can be paid in any currency of the product */
  currency?: string | null;
  promotion_code?: string | null;
  /** IPv4 or IPv6 */
  ip?: string | null;
  device_id?: string | null;
  metadata?: { [name: string]: string } | null;
}

export interface KeySet {
  keys: PublicKey[];
}

export interface Money {
  /** Minor units */
  value: number;
  currency: string;
}

export interface OpenPayment {
  purchase_id: string;
  user_id: string;
  state: OpenState;
  stuck: boolean;
  since: string;
  /** The reason of the purchase or of the refund */
  reason: string | null;
  refund_number: number | null;
  amount: number;
  currency: string;
  void_deadline: string | null;
  gateway_reference: string | null;
}

export type OpenState =
  | "authorizing"
  | "authorized"
  | "capturing"
  | "voiding"
  | "stuck"
  | "refund_pending";

export interface Problem {
  type: string;
  title: string;
  status: number;
  reason: Reason;
  /** A sentence with the figures that the other fields carry; the same when a refusal is repeated under its key */
  detail: string;
  /** The request that was refused; for a replayed response, the first request */
  request_id: string;
  errors?: ProblemError[];
  /** Of `not_found`: the id in the path, for routes that have one */
  id?: string;
  /** Of `product_not_found`: the requested product. With `hold_id` of another product or quantity: the product of the order */
  product_id?: string;
  /** Of `promotion_not_found`: the requested code */
  promotion_code?: string;
  /** Of `events_forgotten`: where the log begins */
  first_lsn?: number;
  /** Of `user_not_found`: the requested user */
  user_id?: string;
  /** Of `receipt_not_found`: the requested receipt */
  receipt_id?: string;
  /** With `hold_id` of another product or quantity: the quantity of the order */
  quantity?: number;
  /** With `hold_id` of another product or quantity: what the hold is for */
  held?: ProblemHeld;
  /** Of `currency_not_allowed`: the currencies that the shop accepts, or in which the product or the hold has a price, as `cause` says. Of `promotion_not_applicable` with the cause `currency`: those in which the promotion gives a discount. At most 8 of a product, hold or promotion */
  currencies?: string[];
  /** Of `forbidden`: the role of the API key */
  role?: string;
  /** Of `forbidden`: the roles that may do this */
  roles_needed?: string[];
  /** Of `body_too_large`: the maximum */
  bytes_max?: number;
  /** Of `unsupported_media_type`, if the body has a `Content-Encoding`: the codings that are supported */
  accept_encoding?: string[];
  /** Of `purchase_not_found` and `refund_not_found`: the requested purchase. Of `idempotency_in_flight`: the purchase whose payment, review or refund is in progress under this key; `Location` is the path to read. Of `wrong_state` and `refund_failed`: the purchase */
  purchase_id?: string;
  /** Of `hold_not_found`, `hold_expired` and `hold_closed`, and if the hold is for another product or quantity */
  hold_id?: string;
  /** Of `hold_closed` and `wrong_state`: the status of the hold or purchase */
  state?: string;
  /** Of `precondition_failed`: the current entity tag; null if the resource does not exist */
  etag?: string | null;
  /** Of `stock_below_committed`: units held and sold */
  committed?: number;
  /** Of `stock_below_committed`: the current total, held, sold and available units */
  stock?: { [name: string]: unknown };
  /** Of `promotion_below_used` and `promotion_exhausted`: the current uses */
  uses?: number;
  /** Of `promotion_below_used` and `promotion_exhausted`: the current maximum of uses */
  uses_max?: number;
  /** What is counted. Of `daily_limit` and `lifetime_limit`: purchases of the user, or with the same card or device. Of `promotion_exhausted`: all uses of the promotion, or those of the user. Of `rate_limited`: the limit that is reached, by its name in the headers */
  scope?: "user" | "card" | "device" | "promotion" | "attempts" | "open_holds" | "idempotency_keys" | "api_key";
  /** Of `per_user_limit`: units. Of `daily_limit` and `lifetime_limit`: minor units of `currency`. Of `rate_limited`: the maximum of what `scope` names, per `window_s` or at once */
  limit?: number;
  /** The used part of `limit`: units of open holds and standing purchases, or the amount bought in minor units */
  used?: number;
  /** The requested quantity. Of `per_user_limit` and `sold_out`: units. Of `not_enough_tokens`: tokens */
  requested?: number;
  /** Of `sold_out`: units available */
  available?: number;
  /** Of `not_enough_tokens`: tokens that the user can spend */
  balance?: number;
  /** The currency of every amount in the answer; amounts are in minor units */
  currency?: string;
  /** The amount to pay or to refund; null if the hold was already known to be unpayable */
  amount?: number | null;
  /** Of `amount_not_payable`: the smallest amount that the gateway accepts; null: no limit */
  amount_min?: number | null;
  /** Of `amount_not_payable`: the largest amount that the gateway accepts; null: no limit */
  amount_max?: number | null;
  /** Of `amount_not_payable`: amounts must be a multiple of this */
  amount_step?: number;
  /** Of `refund_exceeds_captured`: the captured amount */
  captured?: number;
  /** Of `refund_exceeds_captured` and `refund_conflict`: the amount refunded so far */
  refunded_amount?: number;
  /** Of `refund_exceeds_captured` and `refund_conflict`: the amount that can still be refunded, without what is disputed */
  left?: number;
  /** Of `refund_conflict`: the amount refunded so far is not `previously_refunded`, another refund is in progress, `restock` is set on a refund that leaves something, or the purchase has 100 refunds and this one leaves something */
  conflict?: "previously_refunded" | "under_way" | "restock" | "too_many";
  /** Of `sale_not_started`, `sale_ended` and `sale_inactive`, and of a promotion that has not started */
  starts_at?: string | null;
  /** The same, and of a promotion that has ended */
  ends_at?: string | null;
  /** Of `hold_expired`: when it expired */
  expires_at?: string;
  /** Of `currency_not_allowed`: the currency is none of the shop's, or the product, or the hold to be paid, has no price in it. Of `promotion_not_applicable`: it is inactive, outside its window, for other products or segments, without discount in this currency, or not the promotion of the hold */
  cause?: "inactive" | "not_started" | "ended" | "product" | "segment" | "currency" | "hold" | "shop";
  /** Of `rate_limited`: the window in seconds; absent: at once. Of `card_retry_forbidden`: how long a decline counts */
  window_s?: number;
  /** Of `card_retry_forbidden`: declines of this card for this user that count */
  declines?: number;
  /** Of `card_retry_forbidden`: declines with the advice `later` after which the card is refused */
  declines_max?: number;
  /** Of `card_retry_forbidden`: from when the card may be tried again */
  retry_at?: string;
  /** Of `refund_failed` and `refund_not_found`: the number of the refund */
  number?: number;
  /** Of `payment_declined` and `refund_failed`: the gateway's code, if it gave one */
  code?: string | null;
  /** Of `wrong_state` of segments: no database is configured for them */
  configured?: boolean;
}

export interface ProblemError {
  /** The field, a header, or `body` for the whole. A field that is not known is named too, if its name is a plain word */
  field: string;
  /** What the field must be; never the value that was sent */
  message: string;
}

/** With `hold_id` of another product or quantity: what the hold is for */
export interface ProblemHeld {
  product_id: string;
  quantity: number;
}

export interface Product {
  product_id: string;
  name: string;
  price: { [name: string]: number };
  starts_at: string | null;
  ends_at: string | null;
  active: boolean;
  status: "upcoming" | "open" | "sold_out" | "ended" | "inactive";
  stock: ProductStock;
  per_user_limit: number | null;
}

export interface ProductPatch {
  name?: string;
  price?: { [name: string]: number | null };
  stock?: number;
  per_user_limit?: number | null;
  starts_at?: string | null;
  ends_at?: string | null;
  active?: boolean;
  hold_ttl_s?: number | null;
  reward_tokens?: number | null;
}

export interface ProductSet {
  name: string;
  price: { [name: string]: number };
  stock: number;
  /** Null: no limit */
  per_user_limit: number | null;
  starts_at: string | null;
  ends_at: string | null;
  active: boolean;
  hold_ttl_s?: number | null;
  reward_tokens?: number | null;
}

export interface ProductStock {
  total: number;
  held: number;
  sold: number;
  available: number;
}

export interface PromotionPatch {
  percent_off?: number | null;
  amount_off?: { [name: string]: number | null } | null;
  uses_max?: number;
  uses_per_user_max?: number | null;
  product_ids?: string[] | null;
  segments?: string[] | null;
  starts_at?: string | null;
  ends_at?: string | null;
  active?: boolean;
}

/** Send exactly one of `percent_off` and `amount_off` */
export interface PromotionSet {
  percent_off?: number | null;
  amount_off?: { [name: string]: number } | null;
  uses_max: number;
  /** Null: no limit */
  uses_per_user_max: number | null;
  product_ids?: string[] | null;
  segments?: string[] | null;
  starts_at: string | null;
  ends_at: string | null;
  active: boolean;
}

export interface PublicKey {
  kty: string;
  crv: string;
  kid: string;
  x: string;
  use: string;
  alg: string;
}

export interface Purchase {
  purchase_id: string;
  user_id: string;
  product_id: string;
  quantity: number;
  currency: string;
  unit_price: Money;
  discount: Money;
  amount: Money;
  refunded_amount: Money;
  /** The amount of lost disputes */
  charged_back_amount: Money;
  /** In the order in which holdfast learned of them */
  disputes: PurchaseDispute[];
  promotion_code: string | null;
  metadata: { [name: string]: string };
  status: PurchaseStatus;
  reason: string | null;
  created_at: string;
  updated_at: string;
  gateway: PurchaseGateway;
  receipt: Receipt | null;
  /** Only if there is a receipt and it cannot be shown, because the key that sealed it is not configured */
  receipt_unavailable?: PurchaseReceiptUnavailable;
  history: PurchaseHistory[];
}

export interface PurchaseDispute {
  opened_at: string;
  amount: Money;
  status: "opened" | "won" | "lost";
}

export interface PurchaseGateway {
  name: string;
  authorization_id: string | null;
  capture_id: string | null;
  /** The amount that the gateway is known to have captured. It differs from `amount` while the purchase is `stuck` with reason `captured_amount_differs` or `captured_currency_differs`. `currency` is null if the gateway's currency is not in ISO 4217. */
  captured_amount: PurchaseGatewayCapturedAmount | null;
}

export interface PurchaseGatewayCapturedAmount {
  value: number;
  currency: string | null;
}

export interface PurchaseHistory {
  at: string;
  event: string;
  lsn: number;
}

/** Only if there is a receipt and it cannot be shown, because the key that sealed it is not configured */
export interface PurchaseReceiptUnavailable {
  receipt_id: string;
  key_id: string;
}

export type PurchaseStatus =
  | "held"
  | "authorizing"
  | "authorized"
  | "under_review"
  | "capturing"
  | "captured"
  | "declined"
  | "expired"
  | "released"
  | "voiding"
  | "voided"
  | "stuck"
  | "partially_refunded"
  | "refunded"
  | "disputed"
  | "charged_back";

export interface Readiness {
  status: "ready" | "not_ready";
  /** Null if ready */
  reason: "recovering" | "stopping" | "disk_full" | "disk_failing" | "restored_copy" | "not_leader" | null;
  /** What to do */
  detail: string | null;
}

export type Reason =
  | "invalid_request"
  | "currency_not_allowed"
  | "invalid_card_token"
  | "idempotency_key_missing"
  | "unauthorized"
  | "forbidden"
  | "payment_declined"
  | "not_found"
  | "product_not_found"
  | "hold_not_found"
  | "purchase_not_found"
  | "promotion_not_found"
  | "receipt_not_found"
  | "method_not_allowed"
  | "precondition_failed"
  | "request_timeout"
  | "sold_out"
  | "sale_not_started"
  | "sale_ended"
  | "sale_inactive"
  | "per_user_limit"
  | "daily_limit"
  | "lifetime_limit"
  | "promotion_exhausted"
  | "promotion_not_applicable"
  | "hold_expired"
  | "hold_closed"
  | "idempotency_in_flight"
  | "stock_below_committed"
  | "promotion_below_used"
  | "wrong_state"
  | "body_too_large"
  | "unsupported_media_type"
  | "idempotency_key_reused"
  | "rate_limited"
  | "overloaded"
  | "storage_unavailable"
  | "receipt_unavailable"
  | "not_ready"
  | "events_forgotten"
  | "refund_conflict"
  | "refund_exceeds_captured"
  | "refund_failed"
  | "refund_not_found"
  | "risk_blocked"
  | "user_not_found"
  | "not_enough_tokens"
  | "card_retry_forbidden"
  | "gateway_unavailable"
  | "invalid_signature"
  | "stale_timestamp"
  | "replayed_nonce"
  | "idempotency_outcome_elsewhere"
  | "amount_not_payable";

export interface Receipt {
  receipt_id: string;
  purchase_id: string;
  user_id: string;
  product_id: string;
  quantity: number;
  amount: Money;
  captured_at: string;
  integrity_hash: string;
  key_id: string;
  hmac: string;
  /** Only where there was a signing key at the capture and its secret is still here. With `receipts.sign = "when_read"`, the response to a buy and its replays do not have it; reads do. */
  ed25519?: ReceiptEd25519;
}

/** Only where there was a signing key at the capture and its secret is still here. With `receipts.sign = "when_read"`, the response to a buy and its replays do not have it; reads do. */
export interface ReceiptEd25519 {
  key_id: string;
  signature: string;
}

export interface Refund {
  refund_id: string;
  purchase_id: string;
  number: number;
  amount: number;
  currency: string;
  /** `returned`: the gateway failed it after reporting success; the shop has the money */
  status: "pending" | "succeeded" | "failed" | "returned";
  previously_refunded: number;
  /** The amount of the purchase refunded so far, including this refund if it is `succeeded` */
  refunded_amount: number;
  reason: string;
  /** Whether this refund returns the units to the stock */
  restock: boolean;
  /** The gateway's code, if it refused */
  code: string | null;
  /** The reward tokens that were taken back; null until the refund succeeded */
  clawback: RefundClawback | null;
  created_at: string;
  settled_at: string | null;
  /** When a `returned` refund was booked back */
  returned_at?: string;
  /** The request that started it */
  request_id: string;
}

/** The reward tokens that were taken back; null until the refund succeeded */
export interface RefundClawback {
  requested: number;
  recovered: number;
  /** Tokens that were already spent; the buyer owes them */
  shortfall: number;
}

export interface RefundOrder {
  /** Minor units, at most what is left; absent or null: all that is left. 0 is allowed for a free order only */
  amount?: number | null;
  /** Return the units to the stock, because the goods are back. Allowed only on the refund that leaves nothing */
  restock?: boolean | null;
  /** Minor units refunded so far: `refunded_amount.value` of the purchase */
  previously_refunded: number;
  /** No control characters, not blank. Text that looks like a card number is refused (`invalid_request`) and never stored. */
  reason: string;
}

export type RetryAdvice =
  | "never"
  | "other_card"
  | "later";

export interface Returned {
  /** In minor units */
  value: number;
  /** ISO 4217; `null` if the gateway has another currency */
  currency: string | null;
}

export interface Review {
  purchase_id: string;
  product_id: string;
  quantity: number;
  amount: number;
  currency: string;
  /** `amount_over`, or the names of the rules that matched */
  reasons: string[];
  opened_at: string;
  age_s: number;
  /** If nobody has decided by then, `review.on_deadline` decides */
  deadline: string;
  buyer: Buyer;
}

export interface Rewards {
  user_id: string;
  balance: number;
  debt: number;
}

/** The history of a buyer that risk decisions use */
export interface RiskProfile {
  first_seen: string;
  last_seen: string;
  /** Holds and buys, without those that left nothing behind, such as one with 429 */
  attempts: number;
  refused: number;
  /** Captured purchases */
  purchases: number;
  /** Payments declined by the card's issuer */
  declines: number;
  /** Attempts blocked by a rule or a pause */
  blocked: number;
  reviews_approved: number;
  reviews_rejected: number;
  disputes: number;
  chargebacks: number;
  /** How often a refund found its reward tokens already spent */
  token_shortfalls: number;
  tokens_short: number;
  /** The latest decisions about risk, newest first */
  decisions: RiskProfileDecision[];
}

export interface RiskProfileDecision {
  at: string;
  outcome: "passed" | "to_review" | "refused" | "approved" | "rejected";
  /** For a refusal, its reason; for a review, who decided: `person` or `deadline` */
  reason: string | null;
  score: number | null;
  rules: string[];
}

export type SealCheck =
  | "genuine"
  | "absent"
  | "not_checked"
  | "unknown_key"
  | "mismatch";

export interface Sink {
  name: string;
  mode: "run" | "paused" | "given_up";
  /** Whether the last delivery succeeded */
  up: boolean;
  /** Why the last delivery failed */
  failure: string | null;
  cursor_lsn: number;
  lag_bytes: number;
  age_ms: number;
  delivered: number;
  rejected: number;
  retries: number;
  dead_letter_bytes: number;
  /** In the list of sinks, for endpoints of webhooks */
  endpoint?: SinkEndpoint;
  /** Ranges of the log that were never delivered to this sink */
  gaps: SinkGap[];
  /** The newest ranges that the sink had delivered and took back, because the log no longer has them */
  lost: SinkLost[];
  /** The sink's cursor, if it belongs to another history of the log; the sink is stopped until this history is accepted */
  elsewhere: SinkElsewhere | null;
}

/** The sink's cursor, if it belongs to another history of the log; the sink is stopped until this history is accepted */
export interface SinkElsewhere {
  /** The generation of the log, as NUMBER-TAG */
  generation: string;
  cursor_lsn: number;
  /** How the difference was recognized */
  why: string;
}

/** In the list of sinks, for endpoints of webhooks */
export interface SinkEndpoint {
  url: string;
  /** Kinds of events that are sent */
  events: string[];
  keys: number;
  /** whpk_ and base64, for each key of Ed25519 */
  public_keys: string[];
}

export interface SinkGap {
  from_lsn: number;
  to_lsn: number;
}

export interface SinkLost {
  /** The generation of the log, as NUMBER-TAG */
  generation: string;
  from_lsn: number;
  to_lsn: number;
  events: number;
}

export interface Spent {
  user_id: string;
  spent: number;
  /** The balance after this spending */
  balance: number;
}

export interface Status {
  readiness: Readiness;
  /** For the next page of `conservation` */
  next: string | null;
  durable_lsn: number;
  appended_lsn: number;
  first_lsn: number;
  snapshot_lsn: number | null;
  /** Why the last snapshot failed */
  snapshot_failure?: string | null;
  sinks?: Sink[];
  disk?: StatusDisk;
  log: StatusLog;
  buyers?: number;
  purchases?: number;
  idempotency_keys?: number;
  velocity_keys?: number;
  connections?: number;
  open_payments?: number;
  stuck_voids?: number;
  differing_captures?: number;
  /** Purchases under review */
  reviews?: number;
  gateway?: StatusGateway;
  /** The status of the backup; null if none is configured */
  backup?: StatusBackup | null;
  /** A summary of `GET /admin/reconcile` */
  reconcile?: StatusReconcile;
  recovery: { [name: string]: unknown };
  conservation: StatusConservation[];
}

/** The status of the backup; null if none is configured */
export interface StatusBackup {
  to: string;
  up: boolean;
  failure: string | null;
  shipped_lsn: number;
  snapshot_lsn: number | null;
  lag_bytes: number;
  lag_s: number;
  failures: number;
  gaps: number;
}

export interface StatusConservation {
  product_id: string;
  total: number;
  available: number;
  held: number;
  sold: number;
}

export interface StatusDisk {
  /** null if not known */
  free_bytes: number | null;
  free_bytes_min: number;
  /** The longest sync of the last ten seconds, including one in progress */
  sync_slowest_ms: number;
  /** Whether that is longer than a second */
  slow: boolean;
}

export interface StatusGateway {
  name: string;
  circuit: "closed" | "open" | "half_open";
}

export interface StatusLog {
  /** The unique id of the log; it never changes */
  id: string;
  generation: Generation;
  /** Whether this generation may sell: it is the first one, or an operator accepted it */
  accepted: boolean;
}

/** A summary of `GET /admin/reconcile` */
export interface StatusReconcile {
  running?: boolean;
  last_success_at?: string | null;
  result?: string | null;
  differences?: number | null;
}

/** `gateway_unavailable` has a `purchase_id` if a payment had started */
export interface Unavailable {
  type: string;
  title: string;
  status: number;
  reason: Reason;
  /** A sentence with the figures that the other fields carry; the same when a refusal is repeated under its key */
  detail: string;
  /** The request that was refused; for a replayed response, the first request */
  request_id: string;
  errors?: ProblemError[];
  /** Of `not_found`: the id in the path, for routes that have one */
  id?: string;
  /** Of `product_not_found`: the requested product. With `hold_id` of another product or quantity: the product of the order */
  product_id?: string;
  /** Of `promotion_not_found`: the requested code */
  promotion_code?: string;
  /** Of `events_forgotten`: where the log begins */
  first_lsn?: number;
  /** Of `user_not_found`: the requested user */
  user_id?: string;
  /** Of `receipt_not_found`: the requested receipt */
  receipt_id?: string;
  /** With `hold_id` of another product or quantity: the quantity of the order */
  quantity?: number;
  /** With `hold_id` of another product or quantity: what the hold is for */
  held?: ProblemHeld;
  /** Of `currency_not_allowed`: the currencies that the shop accepts, or in which the product or the hold has a price, as `cause` says. Of `promotion_not_applicable` with the cause `currency`: those in which the promotion gives a discount. At most 8 of a product, hold or promotion */
  currencies?: string[];
  /** Of `forbidden`: the role of the API key */
  role?: string;
  /** Of `forbidden`: the roles that may do this */
  roles_needed?: string[];
  /** Of `body_too_large`: the maximum */
  bytes_max?: number;
  /** Of `unsupported_media_type`, if the body has a `Content-Encoding`: the codings that are supported */
  accept_encoding?: string[];
  purchase_id?: string;
  /** Of `hold_not_found`, `hold_expired` and `hold_closed`, and if the hold is for another product or quantity */
  hold_id?: string;
  /** Of `hold_closed` and `wrong_state`: the status of the hold or purchase */
  state?: string;
  /** Of `precondition_failed`: the current entity tag; null if the resource does not exist */
  etag?: string | null;
  /** Of `stock_below_committed`: units held and sold */
  committed?: number;
  /** Of `stock_below_committed`: the current total, held, sold and available units */
  stock?: { [name: string]: unknown };
  /** Of `promotion_below_used` and `promotion_exhausted`: the current uses */
  uses?: number;
  /** Of `promotion_below_used` and `promotion_exhausted`: the current maximum of uses */
  uses_max?: number;
  /** What is counted. Of `daily_limit` and `lifetime_limit`: purchases of the user, or with the same card or device. Of `promotion_exhausted`: all uses of the promotion, or those of the user. Of `rate_limited`: the limit that is reached, by its name in the headers */
  scope?: "user" | "card" | "device" | "promotion" | "attempts" | "open_holds" | "idempotency_keys" | "api_key";
  /** Of `per_user_limit`: units. Of `daily_limit` and `lifetime_limit`: minor units of `currency`. Of `rate_limited`: the maximum of what `scope` names, per `window_s` or at once */
  limit?: number;
  /** The used part of `limit`: units of open holds and standing purchases, or the amount bought in minor units */
  used?: number;
  /** The requested quantity. Of `per_user_limit` and `sold_out`: units. Of `not_enough_tokens`: tokens */
  requested?: number;
  /** Of `sold_out`: units available */
  available?: number;
  /** Of `not_enough_tokens`: tokens that the user can spend */
  balance?: number;
  /** The currency of every amount in the answer; amounts are in minor units */
  currency?: string;
  /** The amount to pay or to refund; null if the hold was already known to be unpayable */
  amount?: number | null;
  /** Of `amount_not_payable`: the smallest amount that the gateway accepts; null: no limit */
  amount_min?: number | null;
  /** Of `amount_not_payable`: the largest amount that the gateway accepts; null: no limit */
  amount_max?: number | null;
  /** Of `amount_not_payable`: amounts must be a multiple of this */
  amount_step?: number;
  /** Of `refund_exceeds_captured`: the captured amount */
  captured?: number;
  /** Of `refund_exceeds_captured` and `refund_conflict`: the amount refunded so far */
  refunded_amount?: number;
  /** Of `refund_exceeds_captured` and `refund_conflict`: the amount that can still be refunded, without what is disputed */
  left?: number;
  /** Of `refund_conflict`: the amount refunded so far is not `previously_refunded`, another refund is in progress, `restock` is set on a refund that leaves something, or the purchase has 100 refunds and this one leaves something */
  conflict?: "previously_refunded" | "under_way" | "restock" | "too_many";
  /** Of `sale_not_started`, `sale_ended` and `sale_inactive`, and of a promotion that has not started */
  starts_at?: string | null;
  /** The same, and of a promotion that has ended */
  ends_at?: string | null;
  /** Of `hold_expired`: when it expired */
  expires_at?: string;
  /** Of `currency_not_allowed`: the currency is none of the shop's, or the product, or the hold to be paid, has no price in it. Of `promotion_not_applicable`: it is inactive, outside its window, for other products or segments, without discount in this currency, or not the promotion of the hold */
  cause?: "inactive" | "not_started" | "ended" | "product" | "segment" | "currency" | "hold" | "shop";
  /** Of `rate_limited`: the window in seconds; absent: at once. Of `card_retry_forbidden`: how long a decline counts */
  window_s?: number;
  /** Of `card_retry_forbidden`: declines of this card for this user that count */
  declines?: number;
  /** Of `card_retry_forbidden`: declines with the advice `later` after which the card is refused */
  declines_max?: number;
  /** Of `card_retry_forbidden`: from when the card may be tried again */
  retry_at?: string;
  /** Of `refund_failed` and `refund_not_found`: the number of the refund */
  number?: number;
  /** Of `payment_declined` and `refund_failed`: the gateway's code, if it gave one */
  code?: string | null;
  /** Of `wrong_state` of segments: no database is configured for them */
  configured?: boolean;
  /** The hold, if it stays open; pay for it with the same idempotency key or a new one */
  hold?: HoldLeft;
}

/** Valid if at least one seal is genuine and none is a mismatch */
export interface Verdict {
  valid: boolean;
  key_id: string | null;
  reason: "genuine" | "too_large" | "malformed" | "unknown_key" | "hash_mismatch" | "seal_mismatch" | "unsigned" | "unknown_signing_key" | "signature_mismatch";
  /** Only if the receipt is not valid: the keys that it names and that are not configured here */
  missing_keys?: string[];
  /** The result for each seal */
  seals: VerdictSeals;
}

/** The result for each seal */
export interface VerdictSeals {
  hmac: SealCheck;
  ed25519: SealCheck;
}
