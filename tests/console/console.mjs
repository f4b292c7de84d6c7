// An operator's session in Chromium against a running core: signing in, watching a drop, deciding a review,
// settling a stuck payment, changing products and rules, and an auditor who cannot act.
//
// CONSOLE_URL is the core, CONSOLE_TOOLS the folder with node_modules, CONSOLE_IMAGES where screenshots go
// if HOLDFAST_SCREENSHOTS is set. Every wait is for something that is shown, with a deadline.
import assert from "node:assert/strict";
import { createHmac, randomBytes } from "node:crypto";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const { CONSOLE_TOOLS: tools, CONSOLE_URL: base, CONSOLE_IMAGES: images } = process.env;
const require = createRequire(join(tools, "package.json"));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const [ADMIN, AUDITOR, SHOP] = ["demo-admin-key", "a-key-of-a-reader", "demo-shop-key"];
const WEBHOOK_SECRET = "a-secret-of-webhooks-that-is-new";
const WIDTHS = [1280, 390];
const DEADLINE_MS = 10_000;

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium" });
const wrong = [];

/** A page of its own: everything that it complains about fails the test. */
async function open(options = {}, prepare = async () => {}) {
  const context = await browser.newContext({ locale: "en-US", timezoneId: "Asia/Seoul", viewport: { width: 1280, height: 900 }, reducedMotion: "reduce", ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(DEADLINE_MS);
  page.on("pageerror", (error) => wrong.push(`error: ${error.stack}`));
  page.on("console", (message) => {
    // A refusal that the page shows is a failed load in the browser's eyes.
    const isRefusal = message.text().startsWith("Failed to load resource");
    if (["error", "warning"].includes(message.type()) && !isRefusal) wrong.push(`console: ${message.text()}`);
  });
  await page.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) => console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`));
  });
  await prepare(page);
  await page.goto(`${base}/console`);
  return page;
}

async function signIn(page, key) {
  await page.getByLabel(/^(API key|API 키)$/).fill(key);
  await page.keyboard.press("Enter");
}

/** Shows another view; its heading gets the focus. */
async function go(page, view) {
  await page.evaluate((to) => {
    document.activeElement.blur();
    location.hash = to;
  }, `#/${view}`);
  await page.waitForFunction(() => document.activeElement?.tagName === "H1");
}

/** The accessibility rules of WCAG A and AA, by axe. `evaluate` is not bound by the page's policy. */
async function accessible(page, what) {
  await page.evaluate(axe);
  const found = await page.evaluate(() => globalThis.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"] }));
  const serious = found.violations.filter((it) => ["serious", "critical"].includes(it.impact));
  for (const it of serious) wrong.push(`axe, ${what}: ${it.id} ${it.nodes.map((node) => node.html.slice(0, 160) + node.failureSummary).join(" | ")}`);
}

async function fits(page, what) {
  const before = page.viewportSize();
  for (const width of WIDTHS) {
    await page.setViewportSize({ width, height: 900 });
    const [inner, whole] = await page.evaluate(() => [document.documentElement.clientWidth, document.documentElement.scrollWidth]);
    if (whole > inner) wrong.push(`${what}: ${whole} wide at ${width}`);
  }
  await page.setViewportSize(before);
}

async function screenshot(page, name, options = {}) {
  mkdirSync(images, { recursive: true });
  await page.screenshot({ path: join(images, `${name}.png`), ...options });
}

let orders = 0;

/** The shop's side. */
async function buy(user, card, quantity = 1, product = "drop-1") {
  orders += 1;
  const answer = await fetch(`${base}/limited/buy`, {
    method: "POST",
    headers: { Authorization: `Bearer ${SHOP}`, "Content-Type": "application/json", "Idempotency-Key": `console-test-${orders}` },
    body: JSON.stringify({ user_id: user, product_id: product, quantity, currency: "USD", card_token: card }),
  });
  return answer.json();
}

/** The gateway's side: a buyer disputes the payment. */
async function dispute(purchase) {
  const [timestamp, nonce] = [String(Math.floor(Date.now() / 1000)), randomBytes(8).toString("hex")];
  const body = JSON.stringify({ event_id: nonce, type: "dispute.opened", created_at: new Date().toISOString(), data: { purchase_id: purchase } });
  const signature = createHmac("sha256", WEBHOOK_SECRET).update(`${timestamp}.${nonce}.${body}`).digest("hex");
  const answer = await fetch(`${base}/webhooks/payment`, {
    method: "POST",
    headers: { "X-Timestamp": timestamp, "X-Nonce": nonce, "X-Signature": `sha256=${signature}` },
    body,
  });
  assert.equal(answer.status, 200, await answer.text());
}

const stock = (page, product, name) => page.locator(`[data-stock="${product} ${name}"]`);
const shows = (locator, text) => locator.filter({ hasText: text }).first().waitFor();
const dialog = (page) => page.getByRole("dialog");

async function signingIn() {
  const page = await open();
  await accessible(page, "sign in");
  await signIn(page, "a-key-of-nobody-at-all");
  await shows(page.getByRole("alert"), "does not know this key");
  await signIn(page, SHOP);
  await shows(page.getByRole("alert"), "has the role shop");
  await signIn(page, ADMIN);
  await page.getByRole("heading", { name: "Drop" }).waitFor();
  // The key is in memory alone.
  const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, location.href]));
  assert.ok(!kept.includes(ADMIN), kept);
  assert.ok(!(await page.content()).includes(ADMIN));
  return page;
}

async function aDropIsWatched(page) {
  await shows(stock(page, "drop-1", "available"), "100");
  await buy("ana", "tok_ok");
  await buy("bo", "tok_declined");
  await buy("ana", "tok_ok", 2);
  await shows(stock(page, "drop-1", "sold"), /^1$/);
  await shows(stock(page, "drop-1", "available"), "99");
  await shows(page.locator('[data-reason="per_user_limit"]'), "1");
  await shows(page.locator('[data-reason="payment_declined"]'), "1");
  await page.locator('[data-conserved="true"]').waitFor();
  await page.locator('[data-ready="ready"]').waitFor();
  assert.equal(await page.locator(".plot canvas").count(), 4);
  // What a product is called is text, whatever it says.
  await shows(page.locator("main"), "<img src=x onerror");
  assert.equal(await page.locator("main img").count(), 0);
  await accessible(page, "drop");
  await fits(page, "drop");
}

/** With a clock that the test moves: reading each second, not while paused, less often after failures. */
async function readingFollowsTheClock() {
  const page = await open({}, (it) => it.clock.install());
  let readings = 0;
  page.on("request", (request) => { readings += request.url().endsWith("/metrics") ? 1 : 0; });
  await signIn(page, ADMIN);
  await shows(stock(page, "drop-1", "total"), "100");
  await page.clock.pauseAt(Date.now() + 60_000);
  const updated = page.getByText(/^Read at/);
  const before = await updated.textContent();
  const answered = page.waitForResponse("**/metrics");
  await page.clock.runFor(1_000);
  await answered;
  await page.waitForFunction((was) => ![...document.querySelectorAll("span")].some((it) => it.textContent === was), before);
  await page.getByRole("button", { name: "Pause" }).click();
  await shows(page.getByRole("status"), "Paused");
  const atPause = readings;
  await page.clock.runFor(60_000);
  assert.equal(readings, atPause, "paused, nothing is read");
  // A core that answers nothing but its probe, then nothing, then as before.
  await page.route("**/admin/status**", (route) => route.fulfill({ status: 503, json: { reason: "storage_unavailable", detail: "not yet" } }));
  await page.route("**/readyz", (route) => route.fulfill({ status: 503, json: { status: "not_ready", reason: "recovering", detail: "12 of 30 bytes" } }));
  await page.getByRole("button", { name: "Continue" }).click();
  await shows(page.getByRole("alert"), "12 of 30 bytes");
  await shows(page.getByRole("alert"), "Next try in 2 s");
  await page.unroute("**/readyz");
  await page.route("**/metrics", (route) => route.abort());
  await page.unroute("**/admin/status**");
  for (const waits of [4, 8]) {
    await page.clock.runFor((waits / 2) * 1_000);
    await shows(page.getByRole("alert"), "No answer from the core");
    await shows(page.getByRole("alert"), `Next try in ${waits} s`);
  }
  await page.unroute("**/metrics");
  await page.clock.runFor(8_000);
  await page.getByRole("alert").first().waitFor({ state: "detached" });
  await page.context().close();
}

async function aReviewIsDecided(page) {
  const reviewed = await buy("dee", "tok_ok", 3, "watch");
  assert.equal(reviewed.status, "under_review");
  await go(page, "attention");
  await page.getByRole("button", { name: `Approve ${reviewed.purchase_id}` }).click();
  await shows(dialog(page), "75.00 USD");
  // By keyboard: the note is the first field, Enter decides.
  await page.keyboard.type("called the buyer");
  await page.keyboard.press("Enter");
  await shows(page.getByRole("status"), "Done");
  await go(page, `purchases/${reviewed.purchase_id}`);
  await page.locator('[data-status="captured"]').waitFor();
  await shows(page.locator("main"), "review_decided");
  return reviewed.purchase_id;
}

async function aRefundIsMade(page, id) {
  await page.getByRole("button", { name: "Refund" }).click();
  await shows(dialog(page), "Up to 75.00 USD");
  await page.getByLabel("Amount (USD)").fill("1.234");
  await page.getByLabel("Reason").fill("scratched");
  await dialog(page).getByRole("button", { name: "Refund" }).click();
  await shows(dialog(page).getByRole("alert"), "is not an amount");
  await page.getByLabel("Amount (USD)").fill("12.50");
  await dialog(page).getByRole("button", { name: "Refund" }).click();
  await page.locator('[data-status="partially_refunded"]').waitFor();
  await shows(page.locator("main"), "12.50 USD");
  await accessible(page, "purchase");
  await fits(page, `purchase ${id}`);
}

async function aStuckPaymentIsFound(page) {
  const stuck = await buy("eve", "tok_capture_half");
  assert.equal(stuck.status, "stuck");
  await go(page, "attention");
  await shows(page.getByRole("region", { name: "Stuck payments" }).first(), stuck.purchase_id);
  await accessible(page, "attention");
  await fits(page, "attention");
  await page.getByRole("link", { name: stuck.purchase_id }).first().click();
  await page.getByRole("button", { name: "Book what the gateway took" }).click();
  await shows(dialog(page), "the gateway took 10.00 USD");
  await page.getByLabel("Note").fill("checked at the gateway");
  await dialog(page).getByRole("button", { name: "Book what the gateway took" }).click();
  await page.locator('[data-status="captured"]').waitFor();
}

async function aDisputeIsFound(page) {
  const { purchase_id: id } = await buy("hal", "tok_ok", 1, "watch");
  await dispute(id);
  await go(page, "attention");
  const open = page.getByRole("region", { name: "Open disputes" }).first();
  await shows(open, id);
  await shows(open, "25.00 USD");
  await open.getByRole("link", { name: id }).click();
  await page.locator('[data-status="disputed"]').waitFor();
  await shows(page.locator("main"), "Answer the dispute at the gateway");
}

/** What needs a broken database or a restored copy: the page with the answers that the core gives then. */
async function troubleIsHandled(page) {
  let letters = [{ sink: "postgres", lsn: 336, cause: "23514 check_violation", refused_at: "2026-11-30T20:00:00.000Z", event: { kind: "hold_placed" } }];
  const sent = [];
  const record = (answer) => (route) => {
    sent.push(route.request().postDataJSON());
    return route.fulfill({ json: answer() });
  };
  await page.route("**/admin/dead-letters?**", (route) => route.fulfill({ json: { dead_letters: letters, total: letters.length, more: false, next: null } }));
  await page.route("**/admin/dead-letters/redrive", record(() => {
    letters = [];
    return { sink: "postgres", status: "done", delivered: 1, refused: 0, cause: null };
  }));
  await go(page, "drop");
  await go(page, "attention");
  await shows(page.getByRole("region", { name: "Dead letters" }).first(), "check_violation");
  await page.getByRole("button", { name: "Deliver again: postgres" }).click();
  await dialog(page).getByRole("button", { name: "Deliver again: postgres" }).click();
  await shows(page.getByRole("status"), "1 delivered, 0 rejected again");
  await page.route("**/admin/status**", async (route) => {
    const answer = await route.fetch();
    const readiness = { status: "not_ready", reason: "restored_copy", detail: "order POST /admin/history/accept" };
    await route.fulfill({ json: { ...(await answer.json()), readiness } });
  });
  await page.route("**/admin/history/accept", record(() => ({})));
  await go(page, "operations");
  await shows(page.getByRole("alert"), "order POST /admin/history/accept");
  await page.getByRole("button", { name: "Go on with this copy" }).click();
  await page.getByLabel("Note").fill("the newest copy");
  await dialog(page).getByRole("button", { name: "Go on with this copy" }).click();
  await dialog(page).waitFor({ state: "detached" });
  assert.deepEqual(sent, [{ sink: "postgres" }, { note: "the newest copy" }]);
  await page.unrouteAll({ behavior: "wait" });
}

async function productsAreChanged(page) {
  await go(page, "products");
  await accessible(page, "products");
  await fits(page, "products");
  await go(page, "products/watch");
  await page.getByRole("button", { name: "Restock" }).click();
  await page.getByLabel("Units to add").fill("7");
  await dialog(page).getByRole("button", { name: "Restock" }).click();
  await shows(page.locator('[data-stock="total"]'), "47");
  await page.getByRole("button", { name: "Stop the sale" }).click();
  await dialog(page).getByRole("button", { name: "Stop the sale" }).click();
  await page.getByRole("button", { name: "Start the sale" }).waitFor();
  assert.equal((await buy("fay", "tok_ok", 1, "watch")).reason, "sale_inactive");
  // Amounts go through the form to the minor unit; the name stays what it is.
  await page.getByLabel("Price").fill("19.99 USD, 25000 KRW");
  await page.getByRole("button", { name: "Save" }).click();
  await shows(page.locator("main dl"), "19.99 USD");
  await shows(page.locator("main dl"), "25,000 KRW");
  // Somebody else's change in between is not overwritten.
  const other = await fetch(`${base}/admin/products/watch`, {
    method: "PATCH", headers: { Authorization: `Bearer ${ADMIN}`, "Content-Type": "application/merge-patch+json" }, body: '{"stock":50}' });
  assert.equal(other.status, 200);
  await page.getByRole("button", { name: "Save" }).click();
  await shows(page.getByRole("alert"), "412");
  await accessible(page, "product");
  await fits(page, "product");
  await go(page, "promotions/TEN");
  await page.getByLabel("Percent off").fill("10");
  await page.getByLabel("Uses at most").fill("5");
  await page.getByRole("button", { name: "Create" }).click();
  await shows(page.locator("main dl"), "10 %");
}

async function rulesAreEdited(page) {
  await go(page, "rules");
  const before = await page.locator("textarea").inputValue();
  await page.locator("textarea").fill(`${before}\n[[rule]]\nname = "x"\nwhen = "count(foo by user last 10m) >= 3"\nthen = "block"\n`);
  const put = async () => {
    await page.getByRole("button", { name: "Put in force" }).click();
    await dialog(page).getByRole("button", { name: "Put in force" }).click();
  };
  await put();
  await shows(page.getByRole("alert"), /Line \d+, column \d+/);
  const selected = await page.evaluate(() => {
    const area = document.querySelector("textarea");
    return area.value.slice(area.selectionStart, area.selectionEnd);
  });
  assert.ok(selected.startsWith("foo"), selected);
  await accessible(page, "rules");
  await fits(page, "rules");
  await page.locator("textarea").fill('[[rule]]\nname = "many"\nwhen = "count(attempt by user last 10m) >= 30"\nthen = "review"\n');
  await put();
  await page.getByRole("cell", { name: "many", exact: true }).waitFor();
}

async function theRestIsOperated(page) {
  await go(page, "attention");
  await page.getByRole("button", { name: "Pause jsonl" }).click();
  await dialog(page).getByRole("button", { name: "Pause" }).click();
  await page.getByRole("button", { name: "Resume jsonl" }).waitFor();
  await go(page, "operations");
  await page.getByRole("button", { name: "Take a snapshot" }).click();
  await dialog(page).getByRole("button", { name: "Take a snapshot" }).click();
  // The act before has said "Done" too.
  await shows(page.getByRole("status"), "Done: Take a snapshot");
  await accessible(page, "operations");
  await fits(page, "operations");
  await go(page, "purchases");
  await page.getByLabel("Purchase, hold, receipt or buyer").fill("ana");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Buyer ana" }).waitFor();
  await page.getByRole("link", { name: "Events of this buyer" }).click();
  await shows(page.locator("main table"), "payment_captured");
  // Times are of the browser's zone, with UTC beside.
  assert.match(await page.locator("main time").first().getAttribute("title"), /Z UTC$/);
  await accessible(page, "audit");
  await fits(page, "audit");
}

async function anAuditorSeesAndCannotAct() {
  const page = await open({ colorScheme: "dark", viewport: { width: 390, height: 800 } });
  await signIn(page, AUDITOR);
  await shows(page.locator("#may-not"), "role auditor");
  await shows(stock(page, "drop-1", "sold"), /\d/);
  await accessible(page, "drop, dark");
  await go(page, "products/drop-1");
  const stop = page.getByRole("button", { name: "Stop the sale" });
  assert.ok(await stop.isDisabled());
  assert.match(await stop.getAttribute("title"), /role auditor/);
  // Should the page be wrong about it, the core refuses, and the page says so.
  await stop.evaluate((it) => { it.disabled = false; });
  await stop.click();
  await dialog(page).getByRole("button", { name: "Stop the sale" }).click();
  await shows(dialog(page).getByRole("alert"), "403 forbidden");
  await page.keyboard.press("Escape");
  await page.context().close();
}

async function itSpeaksKorean() {
  const page = await open({ locale: "ko-KR" });
  await page.getByRole("button", { name: "로그인" }).waitFor();
  await signIn(page, "a-key-of-nobody-at-all");
  await shows(page.getByRole("alert"), "등록되지 않은 키");
  await signIn(page, ADMIN);
  await page.getByRole("heading", { name: "드롭" }).waitFor();
  assert.equal(await page.evaluate(() => document.documentElement.lang), "ko");
  for (const view of ["products", "products/drop-1", "purchases", "attention", "rules", "audit", "operations"]) {
    await go(page, view);
    await fits(page, `ko ${view}`);
  }
  await page.getByLabel("언어").selectOption("en");
  await page.getByRole("heading", { name: "Operations" }).waitFor();
  await page.context().close();
}

/** A drop of many buyers for the pictures in the documentation. */
async function picturesAreTaken() {
  const admin = (method, path, body) => fetch(base + path, {
    method, headers: { Authorization: `Bearer ${ADMIN}`, "Content-Type": method === "PATCH" ? "application/merge-patch+json" : "application/json" }, body: JSON.stringify(body) });
  const terms = { price: { USD: 4900 }, per_user_limit: 2, starts_at: null, ends_at: null, active: true };
  await admin("PUT", "/admin/products/vinyl-first-press", { ...terms, name: "Vinyl, first press", stock: 400 });
  await admin("PATCH", "/admin/products/watch", { name: "Field watch No. 7", active: true, stock: 60 });
  const page = await open({ viewport: { width: 1280, height: 1000 }, timezoneId: "UTC" });
  await signIn(page, ADMIN);
  const until = Date.now() + 25_000;
  const cards = ["tok_ok", "tok_ok", "tok_slow_120", "tok_declined", "tok_slow_40"];
  const products = ["vinyl-first-press", "vinyl-first-press", "drop-1", "watch"];
  for (let user = 0; Date.now() < until; user += 1) {
    await Promise.all([0, 1, 2].map((it) => buy(`buyer-${user}-${it}`, cards[(user + it) % cards.length], 1 + ((user + it) % 5 === 0 ? 2 : 0), products[(user * 3 + it) % products.length])));
    await new Promise((resolve) => { setTimeout(resolve, 60 + 50 * Math.sin(user / 12)); });
  }
  await screenshot(page, "console-drop");
  await page.emulateMedia({ colorScheme: "dark" });
  await page.setViewportSize({ width: 390, height: 900 });
  await screenshot(page, "console-phone");
  await page.emulateMedia({ colorScheme: "light" });
  await page.setViewportSize({ width: 1280, height: 640 });
  await go(page, "attention");
  await page.getByRole("heading", { name: "Reviews to decide" }).waitFor();
  await screenshot(page, "console-attention");
}

/** Every word in both languages, with the same values in it. */
async function theWordsAreWhole() {
  const { WORDS } = await import(new URL("../../console/words.js", import.meta.url)).catch(async () => {
    const text = readFileSync(new URL("../../console/words.js", import.meta.url), "utf8");
    globalThis.navigator ??= { language: "en" };
    return import(`data:text/javascript,${encodeURIComponent(text)}`);
  });
  const values = (word) => [...word.matchAll(/\{\w+\}/g)].map(([it]) => it).sort();
  for (const [key, words] of Object.entries(WORDS)) {
    assert.equal(words.length, 2, key);
    assert.ok(words.every((it) => it.trim() !== ""), key);
    assert.deepEqual(values(words[0]), values(words[1]), key);
  }
}

try {
  await theWordsAreWhole();
  const page = await signingIn();
  const steps = [aDropIsWatched, aReviewIsDecided, aRefundIsMade, aStuckPaymentIsFound, aDisputeIsFound, troubleIsHandled, productsAreChanged, rulesAreEdited, theRestIsOperated];
  let carried;
  for (const step of steps) {
    const began = Date.now();
    try {
      carried = await step(page, carried);
    } catch (error) {
      const heard = await page.getByRole("alert").allTextContents().catch(() => []);
      throw new Error(`${step.name}: ${error.stack}\nalerts: ${heard.join(" | ")}\n${wrong.join("\n")}`);
    }
    console.log(`${step.name}: ${Date.now() - began} ms`);
  }
  await Promise.all([anAuditorSeesAndCannotAct(), itSpeaksKorean(), readingFollowsTheClock()]);
  if (process.env.HOLDFAST_SCREENSHOTS) await picturesAreTaken();
} finally {
  await browser.close();
}
assert.deepEqual(wrong, []);
console.log("ok");
