// Buys, replays, refunds and verifies with the generated TypeScript client.
//
// usage: node shop.js BASE_URL. Prints one JSON object: what the test compares with the core's own
// answers. `tsc` has to accept this file as it stands.
import createClient from "openapi-fetch";
import type { components, paths } from "./holdfast.js";

declare const process: { argv: string[] };

type BuyOrder = components["schemas"]["BuyOrder"];
type PurchaseStatus = components["schemas"]["PurchaseStatus"];

const baseUrl = process.argv[2] ?? "";
const as = (key: string) =>
  createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${key}` } });
const shop = as("demo-shop-key");
const admin = as("demo-admin-key");
const anybody = createClient<paths>({ baseUrl });

function check(holds: boolean, what: string, ...shown: unknown[]): asserts holds {
  if (!holds) throw new Error(`${what}: ${JSON.stringify(shown)}`);
}

const order = (card_token: string): BuyOrder => ({
  user_id: "typescript",
  product_id: "drop-1",
  quantity: 1,
  currency: "USD",
  card_token,
});
const buy = (card_token: string, key: string) =>
  shop.POST("/limited/buy", {
    params: { header: { "Idempotency-Key": key } },
    body: order(card_token),
  });

const first = await buy("tok_ok", "typescript-buy-1");
const bought = first.data;
check(bought !== undefined, "the buy", first.error);
check(bought.status === "captured" && bought.amount.value === 1999, "captured", bought);
check(bought.receipt !== null, "a receipt", bought);

const again = await buy("tok_ok", "typescript-buy-1");
check(again.response.headers.get("Idempotent-Replayed") === "true", "replayed", again);
check(JSON.stringify(again.data) === JSON.stringify(bought), "the same answer", again.data);

const declined = await buy("tok_declined", "typescript-buy-2");
check(declined.error?.reason === "payment_declined", "declined", declined);
check(declined.error.status === 402, "its status", declined.error);
check("retry_advice" in declined.error, "what to do next", declined.error);

const verified = await anybody.POST("/receipts/verify", { body: bought.receipt });
check(verified.data?.valid === true && verified.data.reason === "genuine", "verified", verified);

const purchase_id = bought.purchase_id;
const refunded = await admin.POST("/admin/purchases/{purchase_id}/refunds", {
  params: { path: { purchase_id }, header: { "Idempotency-Key": "typescript-refund-1" } },
  body: { amount: 500, previously_refunded: 0, reason: "damaged" },
});
check(refunded.data?.status === "succeeded", "refunded", refunded);

const after = await shop.GET("/limited/purchases/{purchase_id}", { params: { path: { purchase_id } } });
const status: PurchaseStatus | undefined = after.data?.status;
check(status === "partially_refunded", "partially refunded", after);

const product = await shop.GET("/limited/products/{product_id}", {
  params: { path: { product_id: "drop-1" } },
});
console.log(JSON.stringify({ purchase_id, sold: product.data?.stock.sold }));
