// Events of the audit trail as rows.
import { h, purchaseLink, userLink } from "./dom.js";
import { moneyOf, time } from "./format.js";
import { t } from "./words.js";

const SHOWN_ELSEWHERE = new Set(["at", "kind", "lsn", "user_id", "purchase_id"]);

/** The columns of a table of events; of one purchase without what is the same in each row. */
export function eventColumns({ isOfOne = false } = {}) {
  return [
    { title: t("at"), cell: (it) => time(it.at) },
    { title: t("event"), cell: (it) => [h("code", {}, it.kind), it.act && h("div", {}, it.act)] },
    !isOfOne && { title: t("about"), kind: "wide", cell: (it) => [
      it.user_id && h("div", {}, userLink(it.user_id)),
      it.purchase_id && h("div", {}, purchaseLink(it.purchase_id)),
      it.target && h("div", {}, typeof it.target === "string" ? it.target : JSON.stringify(it.target))] },
    { title: t("by"), cell: (it) => it.key_owner || "" },
    { title: t("what"), kind: "wide", cell: (it) => [
      it.amount?.currency && h("div", {}, moneyOf(it.amount)),
      it.reason && h("div", {}, it.reason),
      h("details", {}, h("summary", {}, `LSN ${it.lsn}`), h("pre", {}, JSON.stringify(rest(it), null, 2)))] },
  ].filter(Boolean);
}

const rest = (event) => Object.fromEntries(Object.entries(event).filter(([name]) => !SHOWN_ELSEWHERE.has(name)));
