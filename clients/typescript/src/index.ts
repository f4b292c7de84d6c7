// Client of holdfast, the purchase core for limited drops.
//
// `Shop` sells, `Admin` operates; `verifyReceipt` and `verifyWebhook` need no core. A refusal throws
// `Refused` with its reason and facts.
export { Admin, type AuditFilters, type Conditions, type Versioned } from "./admin.js";
export type { Attempt, Clock, KeyedOptions, Policy } from "./calls.js";
export { HoldfastError, PaymentDeclined, Pending, ProtocolError, Refused, Unreachable } from "./errors.js";
export { KeysUnread, verifyReceipt, type ReceiptKeys } from "./receipts.js";
export { Shop } from "./shop.js";
export type * from "./types.js";
export { verifyWebhook, WebhookRefused, type Webhook, type WebhookOptions } from "./webhooks.js";
