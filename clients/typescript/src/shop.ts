// What a shop calls: holds, buys, reads. The key has the role `shop`; `admin` may read.
import { Caller, keyOf, segment, type KeyedOptions, type Policy, type Query } from "./calls.js";
import type {
  BuyOrder,
  Hold,
  HoldOrder,
  KeySet,
  Product,
  Purchase,
  PurchaseStatus,
  Receipt,
  Rewards,
  Spent,
  Verdict,
} from "./types.js";

// A payment in these states goes on without us; `stuck` waits for an operator.
const PAYING = new Set<PurchaseStatus>(["authorizing", "authorized", "under_review", "capturing", "voiding", "stuck"]);
// The money was captured, whatever became of it.
const PAID = new Set<PurchaseStatus>(["captured", "partially_refunded", "refunded", "disputed", "charged_back"]);

/** Whether nothing of a purchase's payment is under way. */
export const isSettled = (purchase: Purchase): boolean => !PAYING.has(purchase.status);

/** The owner that a read is limited to: for any other buyer's, the answer is not found. */
interface OwnerOption {
  userId?: string;
}

/** A shop's calls to one core. */
export class Shop {
  readonly #caller: Caller;

  constructor(baseUrl: string, apiKey: string, policy?: Policy) {
    this.#caller = new Caller(baseUrl, apiKey, policy);
  }

  /** Holds units for a buyer, at the price of now. */
  placeHold(order: HoldOrder, options: KeyedOptions = {}): Promise<Hold> {
    return this.#post("/limited/holds", order, options);
  }

  hold(holdId: string, { userId }: OwnerOption = {}): Promise<Hold> {
    return this.#get(`/limited/holds/${segment(holdId)}`, { user_id: userId });
  }

  /** Gives a hold back. A repetition gets the same answer. */
  async releaseHold(holdId: string, { userId }: OwnerOption = {}): Promise<Hold> {
    const path = `/limited/holds/${segment(holdId)}`;
    return (await this.#caller.call({ method: "DELETE", path, query: { user_id: userId } })).body;
  }

  /**
   * Buys; the paid purchase with its receipt.
   *
   * Throws `PaymentDeclined`, another `Refused`, or `Pending` where the deadline passed first: the payment goes
   * on, or a person reviews it. The same call with the error's key continues.
   */
  async buy(order: BuyOrder, { key, deadlineMs }: KeyedOptions = {}): Promise<Purchase> {
    const call = { method: "POST", path: "/limited/buy", body: order, key: keyOf(key), deadlineMs };
    return this.#caller.settled<Purchase>(call, isSettled, (purchase) => PAID.has(purchase.status));
  }

  /** A purchase with its history. */
  purchase(purchaseId: string, { userId }: OwnerOption = {}): Promise<Purchase> {
    return this.#get(`/limited/purchases/${segment(purchaseId)}`, { user_id: userId });
  }

  /** A product with its stock. */
  product(productId: string): Promise<Product> {
    return this.#get(`/limited/products/${segment(productId)}`);
  }

  /** All products, ordered by id; pages are read as they are needed. */
  products({ pageSize }: { pageSize?: number } = {}): AsyncGenerator<Product, void, undefined> {
    return this.#caller.pages("/limited/products", "products", { limit: pageSize });
  }

  /** The receipt of a captured purchase. */
  receipt(receiptId: string, { userId }: OwnerOption = {}): Promise<Receipt> {
    return this.#get(`/limited/receipts/${segment(receiptId)}`, { user_id: userId });
  }

  /** What the core finds of a receipt. `verifyReceipt` of this package needs no core. */
  async verifyReceipt(receipt: Receipt): Promise<Verdict> {
    return (await this.#caller.call({ method: "POST", path: "/receipts/verify", body: receipt })).body;
  }

  /** The public keys of receipts; may be kept for an hour. */
  jwks(): Promise<KeySet> {
    return this.#get("/.well-known/jwks.json");
  }

  /** A buyer's reward tokens. */
  rewards(userId: string): Promise<Rewards> {
    return this.#get(`/limited/rewards/${segment(userId)}`);
  }

  /** Takes reward tokens of a buyer, all or none. */
  spendRewards(userId: string, tokens: number, options: KeyedOptions = {}): Promise<Spent> {
    return this.#post(`/limited/rewards/${segment(userId)}/spend`, { tokens }, options);
  }

  async #get<T>(path: string, query?: Query): Promise<T> {
    return (await this.#caller.call({ method: "GET", path, query })).body;
  }

  async #post<T>(path: string, body: unknown, { key, deadlineMs }: KeyedOptions): Promise<T> {
    return (await this.#caller.call({ method: "POST", path, body, key: keyOf(key), deadlineMs })).body;
  }
}
