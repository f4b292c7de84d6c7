// Runs clients/cases.json against this client: node cases.js CASES SCRIPTED_URL DEMO_URL.
import { readFileSync } from "node:fs";
import {
  Admin,
  HoldfastError,
  KeysUnread,
  PaymentDeclined,
  Pending,
  Refused,
  Shop,
  Unreachable,
  verifyReceipt,
  verifyWebhook,
  WebhookRefused,
  type Attempt,
  type Policy,
} from "holdfast-client";

type Json = any;

/** Time that passes only while a call waits. */
class FakeClock {
  at = 0;
  waitsMs: number[] = [];
  now = () => this.at;
  sleep = async (ms: number) => {
    this.at += ms;
    this.waitsMs.push(ms);
  };
}

const keyed = (x: Json) => ({ key: x.key, deadlineMs: x.deadline_ms });
const owner = (x: Json) => ({ userId: x.user_id });
const page = (x: Json) => ({ pageSize: x.page_size });
const conditions = (x: Json) => ({ ifMatch: x.if_match, ifNoneMatch: x.if_none_match });

async function all(list: AsyncIterable<unknown>): Promise<unknown[]> {
  const entries = [];
  for await (const entry of list) entries.push(entry);
  return entries;
}

const CALLS: Record<string, (shop: Shop, admin: Admin, x: Json) => unknown> = {
  "shop.place_hold": (s, _, x) => s.placeHold(x.order, keyed(x)),
  "shop.hold": (s, _, x) => s.hold(x.hold_id, owner(x)),
  "shop.release_hold": (s, _, x) => s.releaseHold(x.hold_id, owner(x)),
  "shop.buy": (s, _, x) => s.buy(x.order, keyed(x)),
  "shop.purchase": (s, _, x) => s.purchase(x.purchase_id, owner(x)),
  "shop.product": (s, _, x) => s.product(x.product_id),
  "shop.products": (s, _, x) => all(s.products(page(x))),
  "shop.receipt": (s, _, x) => s.receipt(x.receipt_id),
  "shop.verify_receipt": (s, _, x) => s.verifyReceipt(x.receipt),
  "shop.jwks": (s) => s.jwks(),
  "shop.rewards": (s, _, x) => s.rewards(x.user_id),
  "shop.spend_rewards": (s, _, x) => s.spendRewards(x.user_id, x.tokens, keyed(x)),
  "admin.product": (_, a, x) => a.product(x.product_id),
  "admin.products": (_, a, x) => all(a.products(page(x))),
  "admin.put_product": (_, a, x) => a.putProduct(x.product_id, x.terms, conditions(x)),
  "admin.patch_product": (_, a, x) => a.patchProduct(x.product_id, x.patch, conditions(x)),
  "admin.change_stock": (_, a, x) => a.changeStock(x.product_id, x.add, conditions(x)),
  "admin.promotion": (_, a, x) => a.promotion(x.code),
  "admin.promotions": (_, a, x) => all(a.promotions(page(x))),
  "admin.put_promotion": (_, a, x) => a.putPromotion(x.code, x.terms, conditions(x)),
  "admin.patch_promotion": (_, a, x) => a.patchPromotion(x.code, x.patch, conditions(x)),
  "admin.purchase": (_, a, x) => a.purchase(x.purchase_id),
  "admin.refund": (_, a, x) => a.refund(x.purchase_id, x.order, keyed(x)),
  "admin.refunds": (_, a, x) => a.refunds(x.purchase_id),
  "admin.refund_by_number": (_, a, x) => a.refundByNumber(x.purchase_id, x.number),
  "admin.void": (_, a, x) => a.void(x.purchase_id),
  "admin.settle": (_, a, x) => a.settle(x.purchase_id, x.as, x.note),
  "admin.reviews": (_, a, x) => all(a.reviews(page(x))),
  "admin.approve_review": (_, a, x) => a.approveReview(x.purchase_id, x.note),
  "admin.reject_review": (_, a, x) => a.rejectReview(x.purchase_id, x.note),
  "admin.open_payments": (_, a, x) => all(a.openPayments({ state: x.state, ...page(x) })),
  "admin.user": (_, a, x) => a.user(x.user_id),
  "admin.user_purchases": (_, a, x) => all(a.userPurchases(x.user_id, page(x))),
  "admin.pause_user": (_, a, x) => a.pauseUser(x.user_id, x.until, x.reason),
  "admin.resume_user": (_, a, x) => a.resumeUser(x.user_id),
  "admin.audit": (_, a, x) => all(a.audit(x.filters)),
  "admin.status": (_, a) => a.status(),
  verify_receipt: (_, __, x) => verifyReceipt(x.receipt, { hmacKeys: x.hmac, jwks: x.jwks }),
};

/** What a call led to, as the cases write it. */
async function outcome(shop: Shop, admin: Admin, call: string, args: Json): Promise<Json> {
  try {
    return { returns: await CALLS[call]!(shop, admin, args) };
  } catch (error) {
    if (error instanceof TypeError) return { raises: { error: "misuse" } };
    if (!(error instanceof HoldfastError)) throw error;
    return { raises: { idempotency_key: error.idempotencyKey ?? null, ...shown(error) } };
  }
}

function shown(error: HoldfastError): Json {
  if (error instanceof Refused) {
    const { status, reason, requestId: request_id, problem } = error;
    const facts = { status, reason, request_id, problem, retry_after_s: error.retryAfterS };
    if (!(error instanceof PaymentDeclined)) return { error: "refused", ...facts };
    const { purchase_id, code } = error.problem;
    return { error: "declined", ...facts, purchase_id, code, retry_advice: error.retryAdvice, hold: error.hold };
  }
  if (error instanceof Pending) return { error: "pending", state: error.state, location: error.location };
  return { error: error instanceof Unreachable ? "unreachable" : "protocol" };
}

/** Where `actual` lacks something of `expected`; "*" is anything but null. */
function differs(expected: Json, actual: Json, at = ""): string | undefined {
  if (expected === "*") return actual === null || actual === undefined ? `${at} is null` : undefined;
  if (Array.isArray(expected)) {
    if (!Array.isArray(actual) || actual.length !== expected.length) {
      return `${at} is ${JSON.stringify(actual)}, not ${expected.length} entries`;
    }
    return expected.map((value, i) => differs(value, actual[i], `${at}[${i}]`)).find((it) => it !== undefined);
  }
  if (typeof expected === "object" && expected !== null) {
    if (typeof actual !== "object" || actual === null) return `${at} is ${JSON.stringify(actual)}, not an object`;
    return Object.entries(expected)
      .map(([name, value]) => differs(value, actual[name], `${at}.${name}`))
      .find((it) => it !== undefined);
  }
  return expected === (actual ?? null) ? undefined : `${at} is ${JSON.stringify(actual)}, not ${JSON.stringify(expected)}`;
}

const observed = (seen: Attempt[], test: Json) =>
  test.observed && differs(test.observed, seen.slice(0, test.observed.length), "observed");

async function played(url: string, number: number, test: Json): Promise<string[]> {
  await (await fetch(`${url}/_case/${number}`, { method: "POST" })).text();
  const clock = new FakeClock();
  const seen: Attempt[] = [];
  const { timeout_ms = 10_000, retries_max = 4 } = test.options ?? {};
  const policy: Policy = { timeoutMs: timeout_ms, retriesMax: retries_max, clock, observer: (it) => seen.push(it) };
  const [shop, admin] = [new Shop(url, "key-of-the-cases", policy), new Admin(url, "key-of-the-cases", policy)];
  const found: (string | undefined)[] = [];
  for (let i = 0; i < (test.times ?? 1); i++) {
    found.push(differs(test.outcome, await outcome(shop, admin, test.call, test.args)));
  }
  found.push(observed(seen, test));
  const bounds: [number, number][] | undefined = test.waits_ms;
  const isWithin = (wait: number, [low, high]: [number, number]) => wait >= low && wait <= high;
  const waits = clock.waitsMs;
  if (bounds && !(waits.length === bounds.length && waits.every((wait, i) => isWithin(wait, bounds[i]!)))) {
    found.push(`waited ${waits}, not ${JSON.stringify(bounds)}`);
  }
  const verdict = (await (await fetch(`${url}/_verdict`)).json()) as { wrong: string[] };
  return [...found.filter((it) => it !== undefined), ...verdict.wrong];
}

/** The calls against the scripted server. */
async function scripted(cases: Json, url: string): Promise<string[]> {
  const wrong: string[] = [];
  for (const [number, test] of cases.calls.entries()) {
    wrong.push(...(await played(url, number, test)).map((it) => `${test.name}: ${it}`));
  }
  return wrong;
}

/** The steps against a demo, each with what earlier ones saved. */
async function live(cases: Json, url: string): Promise<string[]> {
  let seen: Attempt[] = [];
  const policy: Policy = { observer: (it) => seen.push(it) };
  const [shop, admin] = [new Shop(url, "demo-shop-key", policy), new Admin(url, "demo-admin-key", policy)];
  const saved: Json = { run: "typescript" };
  for (const step of cases.live) {
    seen = [];
    const ended = await outcome(shop, admin, step.call, filled(step.args, saved));
    const wrong = differs(filled(step.outcome, saved), ended) ?? observed(seen, step);
    if (wrong) return [`live: ${step.name}: ${wrong}`];
    if (step.save) saved[step.save] = ended.returns ?? ended.raises;
  }
  return [];
}

function filled(value: Json, saved: Json): Json {
  if (Array.isArray(value)) return value.map((it) => filled(it, saved));
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([name, it]) => [name, filled(it, saved)]));
  }
  if (typeof value !== "string") return value;
  const lookedUp = (path: string) => path.split(".").reduce((it, name) => it[name], saved);
  const whole = /^\$\{([^}]+)\}$/.exec(value);
  return whole ? lookedUp(whole[1]!) : value.replace(/\$\{([^}]+)\}/g, (_, path) => String(lookedUp(path)));
}

function receipts(cases: Json): string[] {
  return cases.receipts.flatMap((test: Json) => {
    const { hmac: hmacKeys, jwks } = cases.receipt_keys[test.keys];
    return judged("receipt", test, () => ({ verdict: verifyReceipt(test.text, { hmacKeys, jwks }) }), (error) =>
      error instanceof KeysUnread ? { keys_unread: true } : undefined,
    );
  });
}

function webhooks(cases: Json): string[] {
  return cases.webhooks.flatMap((test: Json) => {
    const secrets = test.secrets.map((it: string) => cases.webhook_keys[it] ?? it);
    const options = { now: test.now, ...(test.tolerance_s && { toleranceS: test.tolerance_s }) };
    const verify = () => {
      const { id, timestamp } = verifyWebhook(test.headers, test.body, secrets, options);
      return { genuine: { id, timestamp } };
    };
    return judged("webhook", test, verify, (error) => {
      if (error instanceof WebhookRefused) return { refused: error.reason };
      return error instanceof TypeError ? { misuse: true } : undefined;
    });
  });
}

/** What was found must be what is expected, and nothing else. */
function judged(what: string, test: Json, find: () => Json, of: (error: unknown) => Json): string[] {
  let found: Json;
  try {
    found = find();
  } catch (error) {
    found = of(error);
    if (found === undefined) throw error;
  }
  const isSame = !differs(test.expect, found) && !differs(found, test.expect);
  return isSame ? [] : [`${what}, ${test.name}: ${JSON.stringify(found)}, not ${JSON.stringify(test.expect)}`];
}

const [path, scriptedUrl, demoUrl] = process.argv.slice(2) as [string, string, string];
const cases: Json = JSON.parse(readFileSync(path, "utf8"));
const wrong = [...webhooks(cases), ...receipts(cases), ...(await scripted(cases, scriptedUrl)), ...(await live(cases, demoUrl))];
for (const it of wrong) console.log(it);
const counts = ["calls", "webhooks", "receipts", "live"].map((name) => `${cases[name].length} ${name}`).join(", ");
console.log(`typescript: ${counts}; ${wrong.length} wrong`);
process.exitCode = wrong.length === 0 ? 0 : 1;
