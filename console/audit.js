// Searching the audit trail.
import { get } from "./api.js";
import { field, fill, h, section, alertOf } from "./dom.js";
import { eventColumns } from "./events.js";
import { ofLocalInput } from "./format.js";
import { paged } from "./products.js";
import { t } from "./words.js";

const FILTERS = ["kind", "user_id", "purchase_id", "act", "by"];
const PAGE = 100;

/** `given` is the search in the address: `user_id=ana&kind=payment_captured`. */
export async function audit(page, given = "") {
  const asked = Object.fromEntries(new URLSearchParams(given));
  page.head(t("nav_audit"));
  const found = h("div", { "aria-live": "off" });
  const form = h("form", {
    onsubmit: (event) => {
      event.preventDefault();
      search(page, found, form);
    },
  },
  h("div", { class: "fields" },
    FILTERS.map((name) => field(t(`filter_${name}`), name, { value: asked[name], hint: t(`filter_${name}_hint`) })),
    field(t("filter_from"), "from", { type: "datetime-local", step: "any", hint: t("zone_hint") }),
    field(t("filter_to"), "to", { type: "datetime-local", step: "any", hint: t("zone_hint") }),
    field(t("order"), "order", { options: [["desc", t("newest_first")], ["asc", t("oldest_first")]], value: "desc" })),
  h("div", { class: "row" }, h("button", { type: "submit", class: "main" }, t("find"))));
  page.add(h("section", { "aria-label": t("find") }, form), section(t("events"), found));
  await search(page, found, form);
}

async function search(page, found, form) {
  const query = Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, value.trim()]));
  for (const name of ["from", "to"]) query[name] = ofLocalInput(query[name]);
  try {
    const list = await paged(async (after) => {
      const body = await get("/admin/audit", { ...query, limit: PAGE, after });
      return { entries: body.events, next: body.next };
    }, eventColumns(), t("events"));
    if (page.isShown()) fill(found, list);
  } catch (error) {
    if (page.isShown()) fill(found, alertOf(error));
  }
}
