// Products and promotions: lists, terms, start and stop, restock. Each change names the state that it was
// made from, so nobody overwrites what they have not seen.
import { call, get, segment } from "./api.js";
import { alertOf, facts, field, fill, h, link, section, say, table } from "./dom.js";
import { count, localInput, minorUnits, money, ofLocalInput, time, units } from "./format.js";
import { actButton, confirm } from "./session.js";
import { t } from "./words.js";

const PATCH = "application/merge-patch+json";

/** A list that grows by a page at a time. */
export function paged(read, columns, title) {
  const rows = [];
  const place = h("div", {});
  const more = async (after) => {
    const { entries, next } = await read(after);
    rows.push(...entries);
    fill(place, table(title, columns, rows),
      next && h("div", { class: "row" }, h("button", { type: "button", onclick: () => more(next).catch((error) => place.append(alertOf(error))) }, t("more"))));
  };
  return more().then(() => place);
}

export async function products(page) {
  page.head(t("nav_products"));
  const [ofProducts, ofPromotions] = await Promise.all([
    paged(async (after) => {
      const body = await get("/admin/products", { after });
      return { entries: body.products, next: body.next };
    }, [
      { title: t("product"), kind: "wide", cell: (it) => [link(it.name, "products", it.product_id), h("div", { class: "quiet mono" }, it.product_id)] },
      { title: t("status"), cell: (it) => t(`product_${it.status}`) },
      { title: t("price"), cell: (it) => Object.entries(it.price).map(([currency, price]) => h("div", {}, money(price, currency))) },
      { title: t("available"), kind: "number", cell: (it) => count(it.stock.available) },
      { title: t("sold"), kind: "number", cell: (it) => count(it.stock.sold) },
      { title: t("total"), kind: "number", cell: (it) => count(it.stock.total) },
    ], t("products")),
    paged(async (after) => {
      const body = await get("/admin/promotions", { after });
      return { entries: body.promotions, next: body.next };
    }, [
      { title: t("promotion"), cell: (it) => link(it.code, "promotions", it.code) },
      { title: t("status"), cell: (it) => t(it.active ? "active" : "inactive") },
      { title: t("discount"), cell: discount },
      { title: t("uses"), kind: "number", cell: (it) => `${count(it.uses)} / ${count(it.uses_max)}` },
    ], t("promotions")),
  ]);
  if (!page.isShown()) return;
  const add = (kind, text) => actButton(text, () => createNamed(kind));
  page.add(
    section(t("products"), ofProducts, h("div", { class: "row" }, add("products", t("new_product")))),
    section(t("promotions"), ofPromotions, h("div", { class: "row" }, add("promotions", t("new_promotion")))));
}

const discount = (it) => it.percent_off !== null ? `${it.percent_off} %`
  : Object.entries(it.amount_off).map(([currency, amount]) => h("div", {}, money(amount, currency)));

/** Asks for the id, which never changes, then shows the empty form. */
async function createNamed(kind) {
  const isProduct = kind === "products";
  await confirm({
    title: t(isProduct ? "new_product" : "new_promotion"),
    inputs: [field(t(isProduct ? "product_id" : "promotion_code"), "id", { required: true, pattern: "[A-Za-z0-9_.:\\-]{1,64}", hint: t("id_form") })],
    action: t("go_on"),
    act: async (form) => {
      location.hash = `#/${kind}/${segment(form.get("id"))}`;
    },
  });
}

/** Reads terms; null with no tag if there are none yet. */
async function terms(path) {
  try {
    const { body, etag } = await call("GET", path);
    return { now: body, etag };
  } catch (error) {
    if (error.status === 404) return { now: null, etag: null };
    throw error;
  }
}

const condition = (etag) => (etag === null ? { "If-None-Match": "*" } : { "If-Match": etag });

export async function product(page, id) {
  const path = `/admin/products/${segment(id)}`;
  page.head(`${t("product")} ${id}`);
  const { now, etag } = await terms(path);
  if (!page.isShown()) return;
  if (now === null) page.add(h("p", { class: "notice" }, t("not_there_yet")));
  else page.add(productState(page, path, now, etag));
  page.add(section(t("terms"), productForm(page, path, now, etag)));
}

function productState(page, path, now, etag) {
  const patch = (body) => call("PATCH", path, { body, type: PATCH, headers: condition(etag) });
  const starts = !now.active;
  const toggle = actButton(t(starts ? "start_sale" : "stop_sale"), () => confirm({
    title: t(starts ? "start_sale" : "stop_sale"),
    lines: [t(starts ? "start_sale_does" : "stop_sale_does", { name: now.name, n: count(now.stock.available) })],
    action: t(starts ? "start_sale" : "stop_sale"),
    danger: !starts,
    act: () => patch({ active: starts }),
  }).then((done) => done && page.again()), { kind: starts ? "main" : "danger" });
  const restock = actButton(t("restock"), () => confirm({
    title: t("restock"),
    lines: [t("restock_does", { n: count(now.stock.total), available: count(now.stock.available) })],
    inputs: [field(t("units_to_add"), "add", { type: "number", required: true, step: 1, min: -2097151, max: 2097151 })],
    action: t("restock"),
    act: (form) => call("POST", `${path}/stock`, { body: { add: Number(form.get("add")) }, headers: condition(etag) }),
  }).then((done) => done && page.again()));
  return section(now.name,
    facts([
      [t("status"), t(`product_${now.status}`)],
      ...["available", "held", "sold", "total"].map((it) => [t(it), h("span", { "data-stock": it }, count(now.stock[it]))]),
      [t("price"), Object.entries(now.price).map(([currency, price]) => h("div", {}, money(price, currency)))],
      [t("starts_at"), now.starts_at && time(now.starts_at)],
      [t("ends_at"), now.ends_at && time(now.ends_at)],
    ]),
    h("div", { class: "row" }, toggle, restock));
}

/** Sums in each currency, one a line: `19.99 USD`. */
function sumsField(label, name, sums) {
  const lines = Object.entries(sums || {}).map(([currency, it]) => `${units(it, currency)} ${currency}`);
  return field(label, name, { value: lines.join(", "), hint: t("sums_form") });
}

function sumsOf(text) {
  if (text.trim() === "") return null;
  const sums = {};
  for (const part of text.split(",")) {
    const match = /^\s*([\d.]+)\s+([A-Z]{3})\s*$/.exec(part);
    const value = match && minorUnits(match[1], match[2]);
    if (!value) throw new Error(t("not_an_amount", { text: part.trim() }));
    sums[match[2]] = value;
  }
  return sums;
}

const integer = (text) => (text === "" ? null : Number(text));
const list = (text) => (text.trim() === "" ? null : text.split(/[\s,]+/).filter(Boolean));

/** The instant typed; as it was, to the millisecond, if it was not changed. */
const instant = (text, was) => (text === localInput(was) ? was ?? null : ofLocalInput(text));

const timeField = (label, name, value) => field(label, name, { type: "datetime-local", step: "any", value: localInput(value), hint: t("zone_hint") });

/** A form that puts the whole document, on condition that it is still what was read. */
function putForm(page, path, etag, inputs, documentOf) {
  const wrong = h("div", {});
  const save = actButton(t(etag === null ? "create" : "save"), () => form.requestSubmit(), { kind: "main" });
  const form = h("form", {
    onsubmit: async (event) => {
      event.preventDefault();
      fill(wrong);
      try {
        await call("PUT", path, { body: documentOf(new FormData(form)), headers: condition(etag) });
        say(t("saved"));
        page.again();
      } catch (error) {
        const changed = error.status === 412;
        fill(wrong, alertOf(error), changed && h("p", {}, t("changed_meanwhile"), " ",
          h("button", { type: "button", onclick: page.again }, t("read_again"))));
      }
    },
  }, h("div", { class: "fields" }, inputs), wrong, h("div", { class: "row" }, save));
  return form;
}

function productForm(page, path, now, etag) {
  const inputs = [
    field(t("name"), "name", { required: true, maxlength: 200, value: now?.name }),
    sumsField(t("price"), "price", now?.price),
    field(t("total"), "stock", { type: "number", required: true, min: 0, max: 2097151, value: now?.stock.total ?? 0, hint: t("total_hint") }),
    field(t("per_user_limit"), "per_user_limit", { type: "number", min: 1, value: now?.per_user_limit, hint: t("empty_no_limit") }),
    timeField(t("starts_at"), "starts_at", now?.starts_at),
    timeField(t("ends_at"), "ends_at", now?.ends_at),
    field(t("hold_ttl_s"), "hold_ttl_s", { type: "number", min: 1, value: now?.hold_ttl_s, hint: t("empty_default") }),
    field(t("reward_tokens"), "reward_tokens", { type: "number", min: 0, value: now?.reward_tokens ?? 0 }),
    field(t("on_sale"), "active", { type: "checkbox", value: now?.active ?? false }),
  ];
  return putForm(page, path, etag, inputs, (form) => ({
    name: form.get("name"),
    price: sumsOf(form.get("price")) ?? {},
    stock: Number(form.get("stock")),
    per_user_limit: integer(form.get("per_user_limit")),
    starts_at: instant(form.get("starts_at"), now?.starts_at),
    ends_at: instant(form.get("ends_at"), now?.ends_at),
    active: form.get("active") !== null,
    hold_ttl_s: integer(form.get("hold_ttl_s")),
    reward_tokens: integer(form.get("reward_tokens")),
  }));
}

export async function promotion(page, code) {
  const path = `/admin/promotions/${segment(code)}`;
  page.head(`${t("promotion")} ${code}`);
  const { now, etag } = await terms(path);
  if (!page.isShown()) return;
  if (now === null) page.add(h("p", { class: "notice" }, t("not_there_yet")));
  else page.add(promotionState(page, path, now, etag));
  page.add(section(t("terms"), promotionForm(page, path, now, etag)));
}

function promotionState(page, path, now, etag) {
  const starts = !now.active;
  const title = t(starts ? "start_promotion" : "stop_promotion");
  const toggle = actButton(title, () => confirm({
    title,
    lines: [t(starts ? "start_promotion_does" : "stop_promotion_does", { code: now.code })],
    action: title,
    danger: !starts,
    act: () => call("PATCH", path, { body: { active: starts }, type: PATCH, headers: condition(etag) }),
  }).then((done) => done && page.again()), { kind: starts ? "main" : "danger" });
  return section(now.code,
    facts([
      [t("status"), t(now.active ? "active" : "inactive")],
      [t("discount"), discount(now)],
      [t("uses"), `${count(now.uses)} / ${count(now.uses_max)}`],
    ]),
    h("div", { class: "row" }, toggle));
}

function promotionForm(page, path, now, etag) {
  const inputs = [
    field(t("percent_off"), "percent_off", { type: "number", min: 1, max: 100, value: now?.percent_off, hint: t("one_of_both") }),
    sumsField(t("amount_off"), "amount_off", now?.amount_off),
    field(t("uses_max"), "uses_max", { type: "number", required: true, min: 0, value: now?.uses_max ?? 0 }),
    field(t("uses_per_user_max"), "uses_per_user_max", { type: "number", min: 1, value: now?.uses_per_user_max, hint: t("empty_no_limit") }),
    field(t("product_ids"), "product_ids", { value: (now?.product_ids || []).join(", "), hint: t("empty_all") }),
    field(t("segments"), "segments", { value: (now?.segments || []).join(", "), hint: t("empty_all") }),
    timeField(t("starts_at"), "starts_at", now?.starts_at),
    timeField(t("ends_at"), "ends_at", now?.ends_at),
    field(t("active"), "active", { type: "checkbox", value: now?.active ?? false }),
  ];
  return putForm(page, path, etag, inputs, (form) => ({
    percent_off: integer(form.get("percent_off")),
    amount_off: sumsOf(form.get("amount_off")),
    uses_max: Number(form.get("uses_max")),
    uses_per_user_max: integer(form.get("uses_per_user_max")),
    product_ids: list(form.get("product_ids")),
    segments: list(form.get("segments")),
    starts_at: instant(form.get("starts_at"), now?.starts_at),
    ends_at: instant(form.get("ends_at"), now?.ends_at),
    active: form.get("active") !== null,
  }));
}
