// What waits for a person: stuck payments, reviews, disputes, sinks and dead letters.
import { call, get, segment } from "./api.js";
import { alertOf, h, purchaseLink, say, section, table, userLink } from "./dom.js";
import { age, bytes, count, money, moneyOf, time } from "./format.js";
import { reviewButtons } from "./purchases.js";
import { actButton, confirm } from "./session.js";
import { t } from "./words.js";

const PAYMENTS_MAX = 200;
const DISPUTES_MAX = 200;
const LETTERS_MAX = 100;

export async function attention(page) {
  page.head(t("nav_attention"));
  page.add(h("div", { class: "row" }, h("button", { type: "button", onclick: page.again }, t("read_again"))));
  const parts = [
    [t("stuck_payments"), stuck],
    [t("reviews"), reviews],
    [t("open_disputes"), disputes],
    [t("sinks"), sinks],
    [t("dead_letters"), deadLetters],
    [t("payments_under_way"), underWay],
  ];
  // One part that cannot be read does not hide the others.
  const shown = await Promise.all(parts.map(async ([title, of]) => {
    try {
      return section(title, await of(page));
    } catch (error) {
      return section(title, alertOf(error));
    }
  }));
  if (page.isShown()) page.add(...shown);
}

const paymentColumns = () => [
  { title: t("purchase"), kind: "wide", cell: (it) => purchaseLink(it.purchase_id) },
  { title: t("user"), cell: (it) => userLink(it.user_id) },
  { title: t("amount"), kind: "number", cell: (it) => money(it.amount, it.currency) },
  { title: t("state"), cell: (it) => [t(`open_${it.state}`), it.reason && h("div", { class: "quiet" }, it.reason)] },
  { title: t("since"), cell: (it) => time(it.since) },
];

async function stuck() {
  const { payments, total } = await get("/admin/payments", { state: "stuck", limit: PAYMENTS_MAX });
  return [payments.length > 0 && h("p", {}, t("stuck_next")), table(t("stuck_payments"), paymentColumns(), payments), rest(total, payments)];
}

async function underWay() {
  const { payments, total } = await get("/admin/payments", { limit: PAYMENTS_MAX });
  const moving = payments.filter((it) => !it.stuck);
  return [table(t("payments_under_way"), paymentColumns(), moving), rest(total, payments)];
}

const rest = (total, shown) => total > shown.length && h("p", { class: "quiet" }, t("of_all", { n: count(shown.length), total: count(total) }));

async function reviews(page) {
  const { reviews: open, total } = await get("/admin/reviews", { limit: PAYMENTS_MAX });
  return [table(t("reviews"), [
    { title: t("purchase"), kind: "wide", cell: (it) => purchaseLink(it.purchase_id) },
    { title: t("user"), cell: (it) => userLink(it.buyer.user_id) },
    { title: t("product"), cell: (it) => `${it.product_id} × ${count(it.quantity)}` },
    { title: t("amount"), kind: "number", cell: (it) => money(it.amount, it.currency) },
    { title: t("reason"), cell: (it) => it.reasons.join(", ") },
    { title: t("deadline"), cell: (it) => time(it.deadline) },
    { title: t("decide"), kind: "wide", cell: (it) => h("div", { class: "row" },
      reviewButtons(it.purchase_id, { value: it.amount, currency: it.currency }, page.again)) },
  ], open), rest(total, open)];
}

async function disputes() {
  const { purchases: open, next } = await get("/admin/disputes", { limit: DISPUTES_MAX });
  return [table(t("open_disputes"), [
    { title: t("purchase"), kind: "wide", cell: (it) => purchaseLink(it.purchase_id) },
    { title: t("user"), cell: (it) => userLink(it.user_id) },
    { title: t("amount"), kind: "number", cell: (it) => it.disputes.filter((dispute) => dispute.status === "opened").map((dispute) => h("div", {}, moneyOf(dispute.amount))) },
    { title: t("since"), cell: (it) => time(it.disputes.find((dispute) => dispute.status === "opened").opened_at) },
  ], open), h("p", { class: "quiet" }, t("disputes_answered_at_gateway"), " ", next && t("first_only", { n: count(DISPUTES_MAX) }))];
}

async function sinks(page) {
  const { sinks: all } = await get("/admin/sinks");
  const set = (it, to) => actButton(t(`${to}_sink`), () => confirm({
    title: `${t(`${to}_sink`)} · ${it.name}`,
    lines: [t(`${to}_sink_does`)],
    action: t(`${to}_sink`),
    danger: to === "pause",
    act: () => call("POST", `/admin/sinks/${segment(it.name)}/${to}`),
  }).then((done) => done && page.again()), { label: `${t(`${to}_sink`)} ${it.name}` });
  return table(t("sinks"), [
    { title: t("sink"), cell: (it) => it.name },
    { title: t("state"), cell: (it) => [h("span", { class: it.up && it.mode === "run" ? "good" : "warn" }, t(`sink_${it.mode}`)), it.failure && h("div", { class: "bad" }, it.failure),
      it.elsewhere && h("div", { class: "bad" }, it.elsewhere.why)] },
    { title: t("behind"), kind: "number", cell: (it) => `${bytes(it.lag_bytes)} · ${age(it.age_ms / 1000)}` },
    { title: t("delivered"), kind: "number", cell: (it) => count(it.delivered) },
    { title: t("rejected"), kind: "number", cell: (it) => count(it.rejected) },
    { title: t("act"), kind: "wide", cell: (it) => set(it, it.mode === "run" ? "pause" : "resume") },
  ], all);
}

async function deadLetters(page) {
  const { dead_letters: letters, total } = await get("/admin/dead-letters", { limit: LETTERS_MAX });
  const names = [...new Set(letters.map((it) => it.sink))];
  const redrive = (sink) => actButton(t("redrive", { sink }), () => confirm({
    title: t("redrive", { sink }),
    lines: [t("redrive_does")],
    action: t("redrive", { sink }),
    act: async () => {
      const { body } = await call("POST", "/admin/dead-letters/redrive", { body: { sink } });
      if (body.status !== "done") throw new Error(`${t("sink_down")}: ${body.cause}`);
      return body;
    },
  }).then((done) => {
    if (done === null) return;
    say(t("redriven", { delivered: count(done.delivered), rejected: count(done.refused) }));
    page.again();
  }));
  return [
    h("div", { class: "row" }, names.map(redrive)),
    table(t("dead_letters"), [
      { title: t("sink"), cell: (it) => it.sink },
      { title: "LSN", kind: "number", cell: (it) => String(it.lsn) },
      { title: t("at"), cell: (it) => time(it.refused_at) },
      { title: t("reason"), kind: "wide", cell: (it) => it.cause },
      { title: t("event"), kind: "wide", cell: (it) => h("details", {}, h("summary", {}, it.event.kind || "JSON"), h("pre", {}, JSON.stringify(it.event, null, 2))) },
    ], letters),
    rest(total, letters),
  ];
}
