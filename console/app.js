// The console: signing in, navigation, and one view at a time.
import { get, onUnauthorized, useKey } from "./api.js";
import { alertOf, field, fill, h, sentence } from "./dom.js";
import { mayNotAct, signedIn, signIn } from "./session.js";
import { LANGUAGES, language, speak, t } from "./words.js";
import { attention } from "./attention.js";
import { audit } from "./audit.js";
import { drop } from "./drop.js";
import { operations } from "./operations.js";
import { product, products, promotion } from "./products.js";
import { purchase, purchases, user } from "./purchases.js";
import { rules } from "./rules.js";

/** The views by the first word of the address; those with `word` are in the navigation. */
const VIEWS = {
  drop: { word: "nav_drop", show: drop },
  products: { word: "nav_products", show: (page, id) => (id === undefined ? products(page) : product(page, id)) },
  promotions: { show: promotion },
  purchases: { word: "nav_purchases", show: (page, id) => (id === undefined ? purchases(page) : purchase(page, id)) },
  users: { show: user },
  attention: { word: "nav_attention", show: attention },
  rules: { word: "nav_rules", show: rules },
  audit: { word: "nav_audit", show: audit },
  operations: { word: "nav_operations", show: operations },
};
const BELONGS_TO = { promotions: "products", users: "purchases" };

const page = document.getElementById("page");
let stopView = () => {};
let shown = 0;

function languageChoice() {
  const select = h("select", { "aria-label": t("language"), onchange: () => {
    speak(select.value);
    document.documentElement.lang = language();
    start();
    page.querySelector("select[data-language]")?.focus();
  }, "data-language": true }, Object.entries(LANGUAGES).map(([code, name]) => h("option", { value: code, lang: code }, name)));
  select.value = language();
  return select;
}

function start(error) {
  stopView();
  stopView = () => {};
  shown += 1;
  if (signedIn() === null) return showSignIn(error);
  return showFrame();
}

function showSignIn(error) {
  document.title = `${t("sign_in")} · holdfast`;
  const wrong = h("div", {}, error ? alertOf(error) : null);
  const input = field(t("api_key"), "key", { type: "password", required: true, hint: t("key_hint") });
  const form = h("form", {
    onsubmit: async (event) => {
      event.preventDefault();
      const button = form.querySelector("button");
      button.disabled = true;
      try {
        useKey(new FormData(form).get("key").trim());
        signIn(await get("/admin/key"));
        form.reset();
        start();
      } catch (refused) {
        useKey(null);
        fill(wrong, h("p", { class: "notice bad", role: "alert" }, whyNot(refused)));
        button.disabled = false;
        form.querySelector("input").focus();
      }
    },
  }, input, wrong, h("div", { class: "row" }, h("button", { type: "submit", class: "main" }, t("sign_in"))));
  fill(page, h("main", { class: "sign-in panel" }, h("h1", {}, t("console")), form, languageChoice()));
  form.querySelector("input").focus();
}

function whyNot(error) {
  if (error.status === 401) return t("wrong_key");
  if (error.status === 403) return t("wrong_role", { role: error.problem.role || "?" });
  return sentence(error);
}

function showFrame() {
  const links = Object.entries(VIEWS).filter(([, view]) => view.word)
    .map(([name, view]) => h("li", {}, h("a", { href: `#/${name}`, "data-view": name }, t(view.word))));
  const who = signedIn();
  fill(page,
    h("a", { class: "skip", href: "#main", onclick: (event) => {
      event.preventDefault();
      document.querySelector("h1")?.focus();
    } }, t("skip")),
    h("header", {}, h("span", { class: "name" }, "holdfast"),
      h("nav", { "aria-label": t("views") }, h("ul", {}, links)),
      h("span", { class: "quiet" }, `${who.name} · ${who.role}`), languageChoice(),
      h("button", { type: "button", onclick: leave }, t("sign_out"))),
    h("main", { id: "main" },
      mayNotAct() && h("p", { class: "notice warn", id: "may-not" }, mayNotAct()),
      h("div", { class: "said quiet", id: "said", role: "status", "aria-live": "polite" }),
      h("div", { id: "view" })));
  return showView();
}

function leave(error) {
  useKey(null);
  signIn(null);
  start(error instanceof Error ? error : undefined);
}

function address() {
  const parts = location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  return VIEWS[parts[0]] ? parts : ["drop"];
}

async function showView() {
  stopView();
  stopView = () => {};
  shown += 1;
  const [name, ...args] = address();
  const mine = shown;
  for (const it of document.querySelectorAll("nav a")) {
    if (it.dataset.view === (BELONGS_TO[name] || name)) it.setAttribute("aria-current", "page");
    else it.removeAttribute("aria-current");
  }
  const content = h("div", {});
  fill(document.getElementById("view"), content);
  const view = {
    /** The heading, which also gets the focus. */
    head(title) {
      document.title = `${title} · holdfast`;
      const heading = h("h1", { tabindex: "-1" }, title);
      content.append(heading);
      heading.focus();
    },
    add(...children) {
      content.append(...children);
    },
    /** Whether the operator is still looking at it. */
    isShown: () => mine === shown,
    /** Shows the view again, as it is now. */
    again: () => mine === shown && showView(),
    onLeave(then) {
      stopView = then;
    },
  };
  try {
    await VIEWS[name].show(view, ...args);
  } catch (error) {
    if (view.isShown()) view.add(alertOf(error));
  }
}

onUnauthorized((refusal) => {
  if (signedIn() !== null) leave(refusal);
});
window.addEventListener("hashchange", () => signedIn() && showView());
document.documentElement.lang = language();
start();
