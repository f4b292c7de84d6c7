// What an operator calls: terms, refunds, reviews, and what is known. The key has the role `admin`.
//
// Where `server.admin_listen` is set, `baseUrl` is that listener's.
import { Caller, keyOf, segment, type Call, type KeyedOptions, type Policy, type Query } from "./calls.js";
import { isSettled } from "./shop.js";
import type {
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
} from "./types.js";

/** Terms with their entity tag: pass it as `ifMatch` to change only what you read. */
export interface Versioned<T> {
  value: T;
  etag: string;
}

/** Conditions of a change. `ifNoneMatch: "*"` only creates. */
export interface Conditions {
  ifMatch?: string;
  ifNoneMatch?: string;
}

/** Which events of the trail. */
export interface AuditFilters {
  from_lsn?: number;
  to_lsn?: number;
  from?: string;
  to?: string;
  order?: "asc" | "desc";
  kind?: string;
  user_id?: string;
  purchase_id?: string;
  act?: string;
  by?: string;
  /** Events of one page. */
  limit?: number;
}

type List<T> = AsyncGenerator<T, void, undefined>;
type Deadline = Pick<KeyedOptions, "deadlineMs">;

/** An operator's calls to one core. */
export class Admin {
  readonly #caller: Caller;

  constructor(baseUrl: string, apiKey: string, policy?: Policy) {
    this.#caller = new Caller(baseUrl, apiKey, policy);
  }

  /** A product's terms. */
  product(productId: string): Promise<Versioned<AdminProduct>> {
    return this.#terms("GET", `/admin/products/${segment(productId)}`);
  }

  /** All products, ordered by id. */
  products({ pageSize }: { pageSize?: number } = {}): List<AdminProduct> {
    return this.#caller.pages("/admin/products", "products", { limit: pageSize });
  }

  /** Creates or replaces a product. */
  putProduct(productId: string, terms: ProductSet, conditions?: Conditions): Promise<Versioned<AdminProduct>> {
    return this.#terms("PUT", `/admin/products/${segment(productId)}`, terms, conditions);
  }

  /** Changes some terms; null removes a limit or an optional field. */
  patchProduct(productId: string, patch: ProductPatch, conditions?: Conditions): Promise<Versioned<AdminProduct>> {
    return this.#terms("PATCH", `/admin/products/${segment(productId)}`, patch, conditions);
  }

  /** Adds units to the total, or takes some away. Not repeated where no answer came. */
  changeStock(productId: string, add: number, conditions?: Conditions): Promise<Versioned<AdminProduct>> {
    return this.#terms("POST", `/admin/products/${segment(productId)}/stock`, { add }, conditions);
  }

  /** A promotion's terms and uses. */
  promotion(code: string): Promise<Versioned<AdminPromotion>> {
    return this.#terms("GET", `/admin/promotions/${segment(code)}`);
  }

  /** All promotions, ordered by code. */
  promotions({ pageSize }: { pageSize?: number } = {}): List<AdminPromotion> {
    return this.#caller.pages("/admin/promotions", "promotions", { limit: pageSize });
  }

  /** Creates or replaces a promotion. */
  putPromotion(code: string, terms: PromotionSet, conditions?: Conditions): Promise<Versioned<AdminPromotion>> {
    return this.#terms("PUT", `/admin/promotions/${segment(code)}`, terms, conditions);
  }

  /** Changes some terms; null removes a limit or an optional field. */
  patchPromotion(code: string, patch: PromotionPatch, conditions?: Conditions): Promise<Versioned<AdminPromotion>> {
    return this.#terms("PATCH", `/admin/promotions/${segment(code)}`, patch, conditions);
  }

  /** Everything known about a purchase. */
  purchase(purchaseId: string): Promise<AdminPurchase> {
    return this.#get(`/admin/purchases/${segment(purchaseId)}`);
  }

  /** Refunds captured money; the refund, once the gateway has made it. */
  async refund(purchaseId: string, order: RefundOrder, { key, deadlineMs }: KeyedOptions = {}): Promise<Refund> {
    const path = `/admin/purchases/${segment(purchaseId)}/refunds`;
    const call = { method: "POST", path, body: order, key: keyOf(key), deadlineMs };
    return this.#caller.settled<Refund>(
      call,
      (refund) => refund.status !== "pending",
      (refund) => refund.status !== "failed",
    );
  }

  /** All refunds of a purchase, failed ones included. */
  async refunds(purchaseId: string): Promise<Refund[]> {
    const page = await this.#get<{ refunds: Refund[] }>(`/admin/purchases/${segment(purchaseId)}/refunds`);
    return page.refunds;
  }

  refundByNumber(purchaseId: string, number: number): Promise<Refund> {
    return this.#get(`/admin/purchases/${segment(purchaseId)}/refunds/${number}`);
  }

  /** Voids an authorization that is not captured. The answer may be repeated. */
  void(purchaseId: string, { deadlineMs }: Deadline = {}): Promise<Purchase> {
    const path = `/admin/purchases/${segment(purchaseId)}/void`;
    return this.#decided({ method: "POST", path, body: {}, deadlineMs });
  }

  /** Settles a stuck purchase: books what the gateway took, or gives it back. */
  settle(purchaseId: string, as: "captured" | "voided", note: string, { deadlineMs }: Deadline = {}): Promise<Purchase> {
    const path = `/admin/purchases/${segment(purchaseId)}/settle`;
    return this.#decided({ method: "POST", path, body: { as, note }, repeatable: false, deadlineMs });
  }

  /** Purchases under review, earliest deadline first. */
  reviews({ pageSize }: { pageSize?: number } = {}): List<Review> {
    return this.#caller.pages("/admin/reviews", "reviews", { limit: pageSize });
  }

  /** Captures a purchase under review. */
  approveReview(purchaseId: string, note: string, options?: Deadline): Promise<Purchase> {
    return this.#reviewed(purchaseId, "approve", note, options);
  }

  /** Voids a purchase under review, and returns its units. */
  rejectReview(purchaseId: string, note: string, options?: Deadline): Promise<Purchase> {
    return this.#reviewed(purchaseId, "reject", note, options);
  }

  /** Payments and refunds in progress or stuck; stuck ones first. */
  openPayments({ state, pageSize }: { state?: OpenState; pageSize?: number } = {}): List<OpenPayment> {
    return this.#caller.pages("/admin/payments", "payments", { state, limit: pageSize });
  }

  /** Everything known about a buyer. */
  user(userId: string): Promise<Buyer> {
    return this.#get(`/admin/users/${segment(userId)}`);
  }

  /** A buyer's holds and purchases, in the order of their creation. */
  userPurchases(userId: string, { pageSize }: { pageSize?: number } = {}): List<Purchase> {
    return this.#caller.pages(`/admin/users/${segment(userId)}/purchases`, "purchases", { limit: pageSize });
  }

  /** Refuses a buyer's holds and buys until an instant (RFC 3339). */
  async pauseUser(userId: string, until: string, reason: string): Promise<BuyerRiskFacts> {
    const path = `/admin/users/${segment(userId)}/pause`;
    return (await this.#caller.call({ method: "POST", path, body: { until, reason } })).body;
  }

  /** Ends a buyer's pause. */
  async resumeUser(userId: string): Promise<BuyerRiskFacts> {
    return (await this.#caller.call({ method: "DELETE", path: `/admin/users/${segment(userId)}/pause` })).body;
  }

  /** The trail of attempts, payments and administrative acts. */
  audit(filters: AuditFilters = {}): List<AuditEvent> {
    return this.#caller.pages("/admin/audit", "events", filters as Query);
  }

  /** Log, snapshots, sinks, sizes, and the units of each product. */
  status(): Promise<Status> {
    return this.#get("/admin/status");
  }

  async #get<T>(path: string): Promise<T> {
    return (await this.#caller.call({ method: "GET", path })).body;
  }

  async #terms<T>(method: string, path: string, body?: unknown, conditions: Conditions = {}): Promise<Versioned<T>> {
    const headers: Record<string, string> = {};
    if (conditions.ifMatch !== undefined) headers["If-Match"] = conditions.ifMatch;
    if (conditions.ifNoneMatch !== undefined) headers["If-None-Match"] = conditions.ifNoneMatch;
    // A repetition after a change that took effect would fail its own condition, or add twice.
    const repeatable = method === "GET" || (method !== "POST" && Object.keys(headers).length === 0);
    if (method === "PATCH") headers["Content-Type"] = "application/merge-patch+json";
    const answer = await this.#caller.call({ method, path, body, headers, repeatable });
    return { value: answer.body, etag: answer.headers.get("etag") ?? "" };
  }

  #reviewed(purchaseId: string, decision: string, note: string, { deadlineMs }: Deadline = {}): Promise<Purchase> {
    const path = `/admin/reviews/${segment(purchaseId)}/${decision}`;
    return this.#decided({ method: "POST", path, body: { note }, repeatable: false, deadlineMs });
  }

  #decided(call: Call): Promise<Purchase> {
    return this.#caller.settled<Purchase>(call, isSettled, () => true);
  }
}
