// Running the core: status, snapshot, comparison with the gateway, backup, configuration.
import { call, get } from "./api.js";
import { facts, field, h, purchaseLink, section, table } from "./dom.js";
import { bytes, count, money, time } from "./format.js";
import { actButton, confirm } from "./session.js";
import { readiness } from "./status.js";
import { t } from "./words.js";

export async function operations(page) {
  page.head(t("nav_operations"));
  const [status, reconcile, settings] = await Promise.all([get("/admin/status", { limit: 1 }), get("/admin/reconcile"), get("/admin/config")]);
  if (!page.isShown()) return;
  page.add(
    h("div", { class: "row" }, h("button", { type: "button", onclick: page.again }, t("read_again"))),
    h("div", { class: "grid" },
      section(t("readiness"), readiness(status.readiness), status.readiness.reason === "restored_copy" && acceptHistory(page)),
      section(t("snapshot"), snapshot(page, status)),
      section(t("backup"), backup(status.backup)),
      section(t("log"), facts([
        [t("log_id"), h("code", {}, status.log.id)],
        [t("generation"), `${status.log.generation.number} · ${status.log.generation.tag}`],
        [t("first_lsn"), String(status.first_lsn)],
        [t("durable_lsn"), String(status.durable_lsn)],
        [t("segments_of_log"), count(status.log.segments)],
        [t("disk_free"), bytes(status.disk.free_bytes)],
        [t("buyers"), count(status.buyers)],
        [t("purchases"), count(status.purchases)],
        [t("idempotency_keys"), count(status.idempotency_keys)],
        [t("connections"), count(status.connections)],
      ]))),
    section(t("reconcile"), comparison(page, reconcile)),
    section(t("configuration"), configuration(settings)));
}

function acceptHistory(page) {
  return h("div", { class: "row" }, actButton(t("accept_history"), () => confirm({
    title: t("accept_history"),
    lines: [t("accept_history_does")],
    inputs: [field(t("note"), "note", { required: true, maxlength: 500, hint: t("note_hint") })],
    action: t("accept_history"),
    danger: true,
    act: (form) => call("POST", "/admin/history/accept", { body: { note: form.get("note") } }),
  }).then((done) => done && page.again()), { kind: "danger" }));
}

function snapshot(page, status) {
  const take = actButton(t("take_snapshot"), () => confirm({
    title: t("take_snapshot"),
    lines: [t("take_snapshot_does")],
    action: t("take_snapshot"),
    act: () => call("POST", "/admin/snapshot"),
  }).then((done) => done && page.again()));
  return [facts([
    [t("snapshot_lsn"), status.snapshot_lsn === null ? t("none") : String(status.snapshot_lsn)],
    [t("failure"), status.snapshot_failure && h("span", { class: "bad" }, status.snapshot_failure)],
  ]), h("div", { class: "row" }, take)];
}

function backup(it) {
  if (it === null) return [h("p", {}, t("no_backup")), h("pre", {}, "holdfast backup --help")];
  return [facts([
    [t("to"), it.to],
    [t("state"), h("span", { class: it.up ? "good" : "bad" }, it.up ? t("backup_up") : it.failure)],
    [t("behind"), `${bytes(it.lag_bytes)} · ${count(it.lag_s)} s`],
    [t("shipped_lsn"), String(it.shipped_lsn)],
    [t("snapshot_lsn"), it.snapshot_lsn === null ? t("none") : String(it.snapshot_lsn)],
    [t("gaps"), it.gaps > 0 && h("span", { class: "bad" }, count(it.gaps))],
  ]), h("p", {}, t("restore_text")), h("pre", {}, "holdfast restore --help")];
}

function comparison(page, { running, last_success_at: last, report }) {
  const start = (full) => actButton(t(full ? "compare_all" : "compare"), () => confirm({
    title: t(full ? "compare_all" : "compare"),
    lines: [t("compare_does")],
    action: t(full ? "compare_all" : "compare"),
    act: () => call("POST", `/admin/reconcile${full ? "?full=true" : ""}`),
  }).then((done) => done && page.again()));
  const side = (it, currency) => (it ? [h("div", {}, it.status), [it.amount, it.authorized, it.captured].find((sum) => sum !== undefined) !== undefined
    && h("div", {}, money(it.captured ?? it.amount ?? it.authorized, it.currency ?? currency))] : "–");
  return [
    facts([
      [t("last_success_at"), last && time(last)],
      [t("state"), running ? t("comparing", { n: count(running.charges) }) : null],
      [t("result"), report && h("span", { class: report.result === "agrees" ? "good" : "bad" }, t(`result_of_${report.result}`), report.error ? `: ${report.error}` : "")],
      [t("charges"), report && count(report.counts.charges)],
    ]),
    report && report.differences.length > 0 && table(t("differences"), [
      { title: t("difference"), cell: (it) => t(`difference_${it.kind}`) },
      { title: t("purchase"), kind: "wide", cell: (it) => purchaseLink(it.purchase_id) },
      { title: t("ours"), cell: (it) => side(it.ours) },
      { title: t("gateway"), cell: (it) => side(it.gateway, it.ours?.currency) },
    ], report.differences),
    h("div", { class: "row" }, start(false), start(true)),
  ];
}

function configuration(settings) {
  const rows = Object.entries(settings).sort(([one], [other]) => (one < other ? -1 : 1));
  return h("details", {}, h("summary", {}, t("settings", { n: count(rows.length) })), table(t("configuration"), [
    { title: t("setting"), cell: ([name]) => h("code", {}, name) },
    { title: t("value"), cell: ([, value]) => h("code", {}, typeof value === "string" ? value : JSON.stringify(value)) },
  ], rows));
}
