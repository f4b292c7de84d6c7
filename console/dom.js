// Elements, from data by text nodes only: no text ever becomes markup.
import { NoAnswer, Refusal } from "./api.js";
import { t } from "./words.js";

let number = 0;

/** An id that no other element has. */
export function freshId() {
  number += 1;
  return `e${number}`;
}

/**
 * An element. Functions in `props` become listeners, `class` and the rest attributes; `false`, null and
 * undefined are left out. Children are elements, texts and lists of them.
 */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === false || value === null || value === undefined) continue;
    if (typeof value === "function") element.addEventListener(name.replace(/^on/, ""), value);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...flat(children));
  return element;
}

function flat(children) {
  return children.flat(Infinity).filter((it) => it !== null && it !== undefined && it !== false)
    .map((it) => (it instanceof Node ? it : document.createTextNode(String(it))));
}

/** Puts `children` in place of what `element` has. */
export function fill(element, ...children) {
  element.replaceChildren(...flat(children));
  return element;
}

/** Writes `text` if it differs, so that nothing is announced or selected anew for nothing. */
export function write(element, text) {
  const wanted = String(text);
  if (element.textContent !== wanted) element.textContent = wanted;
}

/** A part of the page with its heading. */
export function section(title, ...children) {
  const id = freshId();
  return h("section", { "aria-labelledby": id }, h("h2", { id }, title), ...children);
}

/** Names and values; what is absent is left out. */
export function facts(pairs) {
  const shown = pairs.filter((it) => it && it[1] !== null && it[1] !== undefined && it[1] !== false && it[1] !== "");
  return h("dl", { class: "facts" }, shown.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

/**
 * A table. Columns are `{title, cell(row), kind?}`; kind `number` is right-aligned, `wide` takes a
 * line of its own on a narrow screen.
 */
export function table(caption, columns, rows) {
  if (rows.length === 0) return h("p", { class: "quiet" }, t("nothing"));
  const head = columns.map((it) => h("th", { scope: "col", class: it.kind === "number" ? "number" : null }, it.title));
  const body = rows.map((row) =>
    h("tr", {}, columns.map((it) => h("td", { class: it.kind, "data-label": it.title }, it.cell(row)))));
  return h("div", { class: "table", role: "region", "aria-label": caption, tabindex: "0" },
    h("table", { class: "stack" }, h("thead", {}, h("tr", {}, head)), h("tbody", {}, body)));
}

/** A labelled input. `options` makes a choice of it. */
export function field(label, name, { hint, options, value, ...props } = {}) {
  const id = freshId();
  const hintId = hint ? `${id}h` : null;
  const given = { id, name, "aria-describedby": hintId, ...props };
  let input;
  if (options) {
    input = h("select", given, options.map(([of, text]) => h("option", { value: of }, text)));
    if (value !== undefined) input.value = value;
  } else {
    input = h("input", { autocomplete: "off", spellcheck: "false", ...given });
    if (given.type === "checkbox") input.checked = value === true;
    else if (value !== undefined && value !== null) input.value = value;
  }
  return h("div", { class: "field" },
    h("label", { for: id }, label), input, hint && h("div", { class: "hint", id: hintId }, hint));
}

/** What went wrong, as a person should read it. */
export function sentence(error) {
  if (error instanceof Refusal) {
    const errors = error.problem.errors || [];
    const fields = errors.map((it) => `${it.field}${it.line ? ` (${it.line}:${it.column})` : ""}: ${it.message}`);
    return [`${error.status} ${error.reason || ""}`.trim() + `: ${error.message}`, ...fields].join(" · ");
  }
  return error instanceof NoAnswer ? t("no_answer") : String(error.message || error);
}

/** An element with role `alert` for `error`. */
export function alertOf(error) {
  return h("p", { class: "notice bad", role: "alert" }, sentence(error));
}

/** Says `text` in the page's live region. */
export function say(text) {
  const said = document.getElementById("said");
  if (said) fill(said, text);
}

/** Links of the console. */
export function link(text, ...path) {
  return h("a", { href: `#/${path.map(encodeURIComponent).join("/")}` }, text);
}
export const purchaseLink = (id) => link(id, "purchases", id);
export const userLink = (id) => link(id, "users", id);
