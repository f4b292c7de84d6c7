// One purchase with its whole story and the next action; a buyer with theirs.
import { call, get, newIdempotencyKey, NoAnswer, segment } from "./api.js";
import { facts, field, h, link, purchaseLink, section, table, userLink } from "./dom.js";
import { count, minorUnits, money, moneyOf, time } from "./format.js";
import { eventColumns } from "./events.js";
import { paged } from "./products.js";
import { actButton, confirm } from "./session.js";
import { t } from "./words.js";

/** A purchase is called by the id of its hold, of itself or of its receipt. */
const ID = /^[phr]_([0-9a-f]{32})$/;
const STORY_MAX = 1_000;
const ENDED = ["declined", "expired", "released", "voided", "refunded", "charged_back"];

export async function purchases(page) {
  page.head(t("nav_purchases"));
  const form = h("form", {
    onsubmit: (event) => {
      event.preventDefault();
      const wanted = new FormData(form).get("id").trim();
      const found = ID.exec(wanted);
      if (wanted !== "") location.hash = found ? `#/purchases/p_${found[1]}` : `#/users/${segment(wanted)}`;
    },
  }, field(t("purchase_or_user"), "id", { required: true, hint: t("purchase_or_user_hint") }),
  h("div", { class: "row" }, h("button", { type: "submit", class: "main" }, t("find"))));
  page.add(h("section", { "aria-label": t("find") }, form));
}

export async function user(page, id) {
  page.head(`${t("user")} ${id}`);
  const [buyer, of] = await Promise.all([
    get(`/admin/users/${segment(id)}`),
    paged(async (after) => {
      const body = await get(`/admin/users/${segment(id)}/purchases`, { after });
      return { entries: body.purchases, next: body.next };
    }, [
      { title: t("purchase"), kind: "wide", cell: (it) => purchaseLink(it.purchase_id) },
      { title: t("at"), cell: (it) => time(it.created_at) },
      { title: t("product"), cell: (it) => `${it.product_id} × ${count(it.quantity)}` },
      { title: t("amount"), kind: "number", cell: (it) => moneyOf(it.amount) },
      { title: t("status"), cell: (it) => status(it) },
    ], t("purchases")),
  ]);
  if (!page.isShown()) return;
  const profile = buyer.risk.profile;
  page.add(
    section(t("user"), facts([
      [t("segment"), buyer.segment],
      [t("risk_score"), buyer.risk.score],
      [t("tokens"), `${count(buyer.tokens.balance)}${buyer.tokens.debt ? ` (−${count(buyer.tokens.debt)})` : ""}`],
      ...buyer.spending.map((it) => [t("bought", { currency: it.currency }), t("bought_text", {
        today: money(it.today, it.currency), lifetime: money(it.lifetime, it.currency) })]),
      profile && [t("attempts"), t("profile_text", { attempts: count(profile.attempts), refused: count(profile.refused),
        declines: count(profile.declines), disputes: count(profile.disputes) })],
      [t("audit"), link(t("events_of_user"), "audit", `user_id=${id}`)],
    ])),
    section(t("purchases"), of));
}

export const status = (it) => h("span", { class: it.status === "stuck" ? "bad" : null, "data-status": it.status },
  t(`purchase_${it.status}`), it.reason ? ` · ${it.reason}` : "");

export async function purchase(page, id) {
  page.head(`${t("purchase")} ${id}`);
  const path = `/admin/purchases/${segment(id)}`;
  const [it, story] = await Promise.all([
    get(path),
    get("/admin/audit", { purchase_id: id, limit: STORY_MAX }).catch(() => null),
  ]);
  if (!page.isShown()) return;
  page.add(
    h("div", { class: "grid" }, section(t("state"), summary(it)), section(t("next_action"), nextAction(page, it))),
    section(t("story"), table(t("story"), eventColumns({ isOfOne: true }), story?.events.length ? story.events : it.history.map((step) => ({ ...step, kind: step.event }))),
      story?.next && h("p", { class: "quiet" }, t("first_only", { n: count(STORY_MAX) }))));
  if (it.refunds.length > 0) page.add(section(t("refunds"), refundsTable(it)));
  if (it.disputes.length > 0) page.add(section(t("disputes"), disputesTable(it)));
  if (it.receipt) page.add(section(t("receipt"), receipt(it.receipt)));
}

function summary(it) {
  const captured = it.gateway.captured_amount;
  return facts([
    [t("status"), status(it)],
    [t("user"), userLink(it.user_id)],
    [t("product"), [link(it.product_id, "products", it.product_id), ` × ${count(it.quantity)}`]],
    [t("amount"), moneyOf(it.amount)],
    [t("discount"), it.discount.value > 0 && [moneyOf(it.discount), it.promotion_code && ` (${it.promotion_code})`]],
    [t("captured_amount"), captured && moneyOf(captured)],
    [t("refunded_amount"), it.refunded_amount.value > 0 && moneyOf(it.refunded_amount)],
    [t("charged_back_amount"), it.charged_back_amount.value > 0 && moneyOf(it.charged_back_amount)],
    [t("created_at"), time(it.created_at)],
    [t("updated_at"), time(it.updated_at)],
    [t("void_deadline"), it.void_deadline && time(it.void_deadline)],
    [t("review"), it.review && [it.review.reasons.join(", "), it.review.deadline && [" · ", t("until"), " ", time(it.review.deadline)]]],
    [t("gateway"), it.gateway.name],
    [t("gateway_reference"), it.gateway_reference && h("code", {}, it.gateway_reference)],
    [t("metadata"), Object.keys(it.metadata).length > 0 && Object.entries(it.metadata).map(([name, value]) => h("div", {}, `${name}: ${value}`))],
  ]);
}

function nextAction(page, it) {
  const acts = [];
  if (it.status === "authorized") acts.push(voidButton(page, it, "void_does"));
  if (it.status === "under_review") acts.push(...reviewButtons(it.purchase_id, it.amount, () => page.again()));
  if (it.status === "stuck") acts.push(...stuckButtons(page, it));
  if (left(it) > 0 && ["captured", "partially_refunded", "disputed"].includes(it.status)) acts.push(refundButton(page, it));
  const known = ENDED.includes(it.status) ? "next_ended" : `next_${it.status}`;
  return [h("p", {}, t(known)), h("div", { class: "row" }, acts)];
}

const left = (it) => it.amount.value - it.refunded_amount.value - it.charged_back_amount.value;

/** Voiding; 202 means that the gateway has not answered yet. */
function voidButton(page, it, consequence) {
  return actButton(t("void"), () => confirm({
    title: t("void"),
    lines: [t(consequence, { amount: moneyOf(it.amount), n: count(it.quantity), product: it.product_id })],
    action: t("void"),
    danger: true,
    act: () => call("POST", `/admin/purchases/${segment(it.purchase_id)}/void`, { body: {} }),
  }).then((done) => done && page.again()), { kind: "danger" });
}

function stuckButtons(page, it) {
  const differs = it.reason === "captured_amount_differs" || it.reason === "captured_currency_differs";
  const settle = (as) => actButton(t(`settle_${as}`), () => confirm({
    title: t(`settle_${as}`),
    lines: [t(`settle_${as}_does`, { amount: moneyOf(it.amount), taken: moneyOf(it.gateway.captured_amount) })],
    inputs: [noteField()],
    action: t(`settle_${as}`),
    danger: as === "voided",
    act: (form) => call("POST", `/admin/purchases/${segment(it.purchase_id)}/settle`, { body: { as, note: form.get("note") } }),
  }).then((done) => done && page.again()), { kind: as === "voided" ? "danger" : null });
  return [settle("captured"), settle("voided"), differs ? null : voidButton(page, it, "void_again_does")].filter(Boolean);
}

const noteField = () => field(t("note"), "note", { required: true, maxlength: 500, hint: t("note_hint") });

/** Approve and reject, for a purchase under review. */
export function reviewButtons(id, amount, then) {
  const decide = (verdict, danger) => actButton(t(verdict), () => confirm({
    title: `${t(verdict)} · ${id}`,
    lines: [t(`${verdict}_does`, { amount: moneyOf(amount) })],
    inputs: [noteField()],
    action: t(verdict),
    danger,
    act: (form) => call("POST", `/admin/reviews/${segment(id)}/${verdict}`, { body: { note: form.get("note") } }),
  }).then((done) => done && then()), { kind: danger ? "danger" : "main", label: `${t(verdict)} ${id}` });
  return [decide("approve", false), decide("reject", true)];
}

function refundButton(page, it) {
  const { currency } = it.amount;
  // The same key while the outcome is not known: a repeat then refunds nothing twice.
  let key = newIdempotencyKey();
  return actButton(t("refund"), () => confirm({
    title: t("refund"),
    lines: [t("refund_does", { left: money(left(it), currency), amount: moneyOf(it.amount), refunded: moneyOf(it.refunded_amount) })],
    inputs: [
      field(`${t("amount")} (${currency})`, "amount", { inputmode: "decimal", hint: t("refund_amount_hint", { left: money(left(it), currency) }) }),
      field(t("reason"), "reason", { required: true, maxlength: 500, hint: t("note_hint") }),
      field(t("restock_units", { n: count(it.quantity) }), "restock", { type: "checkbox", hint: t("restock_hint") }),
    ],
    action: t("refund"),
    danger: true,
    act: async (form) => {
      const text = form.get("amount").trim();
      const amount = text === "" ? null : minorUnits(text, currency);
      if (text !== "" && amount === null) throw new Error(t("not_an_amount", { text }));
      try {
        return await call("POST", `/admin/purchases/${segment(it.purchase_id)}/refunds`, {
          headers: { "Idempotency-Key": key },
          body: {
            amount,
            previously_refunded: it.refunded_amount.value,
            reason: form.get("reason"),
            restock: form.get("restock") !== null,
          },
        });
      } catch (error) {
        const isKnown = !(error instanceof NoAnswer) && error.status < 500 && error.reason !== "idempotency_in_flight";
        if (isKnown) key = newIdempotencyKey();
        throw error;
      }
    },
  }).then((done) => done && page.again()), { kind: "danger" });
}

function refundsTable(it) {
  return table(t("refunds"), [
    { title: "#", cell: (refund) => count(refund.number) },
    { title: t("at"), cell: (refund) => time(refund.created_at) },
    { title: t("amount"), kind: "number", cell: (refund) => money(refund.amount, refund.currency) },
    { title: t("status"), cell: (refund) => [t(`refund_${refund.status}`), refund.code && ` (${refund.code})`] },
    { title: t("reason"), kind: "wide", cell: (refund) => refund.reason },
  ], it.refunds);
}

function disputesTable(it) {
  return table(t("disputes"), [
    { title: t("at"), cell: (dispute) => time(dispute.opened_at) },
    { title: t("amount"), kind: "number", cell: (dispute) => moneyOf(dispute.amount) },
    { title: t("status"), cell: (dispute) => t(`dispute_${dispute.status}`) },
  ], it.disputes);
}

function receipt(it) {
  return [facts([
    [t("receipt"), h("code", {}, it.receipt_id)],
    [t("amount"), moneyOf(it.amount)],
    [t("at"), time(it.captured_at)],
    [t("seal_key"), [it.key_id, it.ed25519 ? `, ${it.ed25519.key_id}` : ""]],
  ]), h("details", {}, h("summary", {}, "JSON"), h("pre", {}, JSON.stringify(it, null, 2)))];
}
