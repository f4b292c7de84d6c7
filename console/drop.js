// The running drop: read each second, less often while the core does not answer.
import { call, get } from "./api.js";
import { facts, fill, h, link, say, section, sentence, table, write } from "./dom.js";
import { age, bytes, count, rough, seconds } from "./format.js";
import { Plot } from "./plot.js";
import * as readings from "./readings.js";
import { attentionCount, readiness } from "./status.js";
import { t } from "./words.js";

const EVERY_MS = 1_000;
const EVERY_MAX_MS = 30_000;
/** Quantiles and rates of the tables are of this many readings. */
const WINDOW = 10;
const PRODUCTS_MAX = 100;
const ATTEMPTS = "purchase_attempt_total";
const STAGES = ["shard", "log_wait", "gateway", "request"];
const RESULTS = ["success", "refused", "failed", "pending"];

export async function drop(page) {
  page.head(t("nav_drop"));
  const parts = build(page);
  const kept = [];
  const state = { isPaused: false, waitMs: EVERY_MS, timer: null, wake: () => {} };
  parts.pause.addEventListener("click", () => {
    state.isPaused = !state.isPaused;
    parts.pause.setAttribute("aria-pressed", String(state.isPaused));
    write(parts.pause, t(state.isPaused ? "resume_reading" : "pause_reading"));
    say(t(state.isPaused ? "reading_paused" : "reading_again"));
    if (!state.isPaused) state.wake();
  });
  // Who comes back to the tab sees figures of now.
  const wake = () => state.wake();
  document.addEventListener("visibilitychange", wake);
  page.onLeave(() => {
    document.removeEventListener("visibilitychange", wake);
    clearTimeout(state.timer);
    parts.plots.forEach((it) => it.stop());
  });
  while (page.isShown()) {
    if (!state.isPaused && !document.hidden) {
      try {
        const reading = await read();
        if (!page.isShown()) return;
        kept.push(reading);
        if (kept.length > WINDOW + 1) kept.shift();
        show(parts, kept);
        state.waitMs = EVERY_MS;
      } catch (error) {
        if (!page.isShown()) return;
        state.waitMs = Math.min(state.waitMs * 2, EVERY_MAX_MS);
        fill(parts.trouble, await whyNotReady(), h("p", { class: "notice bad", role: "alert" },
          `${sentence(error)} ${t("retry_in", { n: count(state.waitMs / 1000) })}`));
      }
    }
    await new Promise((resolve) => {
      state.wake = resolve;
      state.timer = setTimeout(resolve, state.waitMs);
    });
  }
}

/** What the probe says while the core answers nothing else, such as during recovery. */
async function whyNotReady() {
  const probe = await call("GET", "/readyz").catch(() => null);
  return probe?.body?.status === "not_ready" ? readiness(probe.body) : null;
}

async function read() {
  const [status, products, metrics] = await Promise.all([
    get("/admin/status", { limit: PRODUCTS_MAX }),
    get("/admin/products", { limit: PRODUCTS_MAX }),
    call("GET", "/metrics"),
  ]);
  return { at: performance.now(), status, products, metrics: readings.parse(metrics.body) };
}

function build(page) {
  const part = () => h("div", {});
  const [trouble, ready, figures, products, refusals, stages, queues, sinks] = Array.from({ length: 8 }, part);
  const pause = h("button", { type: "button", "aria-pressed": "false" }, t("pause_reading"));
  const updated = h("span", { class: "quiet" }, t("reading"));
  const plots = [
    new Plot(t("plot_units"), ["available", "held", "sold"].map((it) => ({ label: t(it), colour: `--${it}` })), count),
    new Plot(t("plot_attempts"), RESULTS.map((it, place) => ({ label: t(`result_${it}`), colour: ["--series-3", "--series-2", "--series-4", "--series-1"][place] })), rough),
    new Plot(t("plot_refusals"), [1, 2, 3, 4, 5].map((it) => ({ label: `#${it}`, colour: `--series-${it}` })), rough),
    new Plot(t("plot_stages"), STAGES.map((it, place) => ({ label: t(`stage_${it}`), colour: `--series-${place + 1}` })), seconds),
  ];
  page.add(
    h("div", { class: "row" }, pause, updated), trouble,
    section(t("now"), ready, figures),
    section(t("units"), products),
    h("div", { class: "grid" }, plots.slice(0, 2).map((it) => h("section", {}, it.element))),
    h("div", { class: "grid" },
      section(t("refusals"), plots[2].element, refusals),
      section(t("stages"), plots[3].element, stages)),
    h("div", { class: "grid" }, section(t("log"), queues), section(t("sinks"), sinks)));
  return { trouble, ready, figures, products, refusals, stages, queues, sinks, pause, updated, plots, named: [] };
}

function show(parts, kept) {
  const now = kept[kept.length - 1];
  const before = kept[Math.max(kept.length - 2, 0)];
  const first = kept[0];
  const shown = { now, before, first, elapsedS: (now.at - before.at) / 1000, windowS: (now.at - first.at) / 1000 };
  fill(parts.trouble);
  write(parts.updated, t("updated", { at: new Date().toLocaleTimeString() }));
  showNow(parts, shown);
  showProducts(parts, shown);
  showRefusals(parts, shown);
  showStages(parts, shown);
  showQueues(parts, shown);
}

const perS = (grown, elapsedS) => (elapsedS > 0 ? grown / elapsedS : null);

function showNow(parts, { now, before, elapsedS }) {
  const { status, metrics } = now;
  fill(parts.ready, readiness(status.readiness));
  const results = RESULTS.map((result) => perS(readings.grown(metrics, before.metrics, ATTEMPTS, { result }), elapsedS));
  const all = elapsedS > 0 ? results.reduce((sum, it) => sum + it, 0) : null;
  const waiting = attentionCount(status);
  const pair = (name, value) => h("div", {}, h("dt", {}, t(name)), h("dd", { "data-figure": name }, value));
  fill(parts.figures, h("dl", { class: "figures" },
    pair("attempts_per_s", rough(all)), pair("successes_per_s", rough(results[0])),
    pair("open_payments", count(status.open_payments)), pair("reviews", count(status.reviews)),
    pair("to_attend", waiting === 0 ? "0" : link(count(waiting), "attention"))));
  const at = Date.now() / 1000;
  parts.plots[1].add(at, results);
  parts.plots[0].add(at, ["available", "held", "sold"].map((state) => readings.sum(metrics, "holdfast_units", { state })));
}

/** Widths are set by script, which the policy allows; a style attribute it would not. */
function bar(stock) {
  const parts = ["sold", "held", "available"].map((name) => {
    const part = h("span", { class: name });
    part.style.width = `${stock.total > 0 ? (100 * stock[name]) / stock.total : 0}%`;
    return part;
  });
  return h("div", { class: "bar", "aria-hidden": "true" }, parts);
}

function showProducts(parts, { now }) {
  const products = now.products.products;
  const oversold = readings.sum(now.metrics, "holdfast_oversold_units");
  const wrong = products.filter(({ stock }) => stock.total !== stock.available + stock.held + stock.sold);
  const columns = [
    { title: t("product"), kind: "wide", cell: (it) => [link(it.name, "products", it.product_id), h("div", { class: "quiet mono" }, it.product_id)] },
    { title: t("status"), cell: (it) => t(`product_${it.status}`) },
    { title: t("units"), kind: "wide", cell: (it) => bar(it.stock) },
    ...["available", "held", "sold", "total"].map((name) => ({
      title: t(name), kind: "number", cell: (it) => h("span", { "data-stock": `${it.product_id} ${name}` }, count(it.stock[name])),
    })),
  ];
  const holds = wrong.length === 0 && !oversold;
  fill(parts.products, table(t("units"), columns, products),
    now.products.next && h("p", { class: "quiet" }, t("first_only", { n: count(PRODUCTS_MAX) })),
    h("p", { class: holds ? "good" : "bad", "data-conserved": String(holds) },
      holds ? t("conserved") : t("not_conserved", { products: wrong.map((it) => it.product_id).join(", ") || "–" })));
}

function showRefusals(parts, { now, before, first, elapsedS, windowS }) {
  const totals = readings.by(now.metrics, ATTEMPTS, "reason");
  totals.delete("none");
  const rows = [...totals].map(([reason, total]) => ({
    reason,
    total,
    rate: perS(readings.grown(now.metrics, first.metrics, ATTEMPTS, { reason }), windowS),
  })).filter((it) => it.total > 0).sort((one, other) => other.total - one.total);
  // A place in the plot stays with its reason.
  for (const { reason } of rows) {
    if (parts.named.length < 5 && !parts.named.includes(reason)) {
      parts.named.push(reason);
      const keys = parts.plots[2].element.querySelectorAll(".keys li");
      keys[parts.named.length - 1].lastChild.data = reason;
    }
  }
  const rates = [0, 1, 2, 3, 4].map((place) => parts.named[place]
    ? perS(readings.grown(now.metrics, before.metrics, ATTEMPTS, { reason: parts.named[place] }), elapsedS) : null);
  parts.plots[2].add(Date.now() / 1000, rates);
  fill(parts.refusals, table(t("refusals"), [
    { title: t("reason"), cell: (it) => h("code", {}, it.reason) },
    { title: t("per_s"), kind: "number", cell: (it) => rough(it.rate) },
    { title: t("since_start"), kind: "number", cell: (it) => h("span", { "data-reason": it.reason }, count(it.total)) },
  ], rows));
}

function showStages(parts, { now, before, first, windowS }) {
  const of = (stage, q, since) => readings.quantile(now.metrics, since.metrics, "holdfast_stage_seconds", { stage }, q);
  parts.plots[3].add(Date.now() / 1000, STAGES.map((stage) => of(stage, 0.99, before)));
  fill(parts.stages, table(t("stages"), [
    { title: t("stage"), cell: (stage) => t(`stage_${stage}`) },
    { title: "p50", kind: "number", cell: (stage) => seconds(of(stage, 0.5, first)) },
    { title: "p99", kind: "number", cell: (stage) => seconds(of(stage, 0.99, first)) },
    { title: t("per_s"), kind: "number", cell: (stage) =>
      rough(perS(readings.grown(now.metrics, first.metrics, "holdfast_stage_seconds_count", { stage }), windowS)) },
  ], STAGES), h("p", { class: "quiet" }, t("of_the_last", { n: count(Math.round(windowS)) })));
}

function showQueues(parts, { now, first }) {
  const { status, metrics } = now;
  fill(parts.queues, facts([
    [t("not_durable"), bytes(status.appended_lsn - status.durable_lsn)],
    [t("ring"), `${bytes(status.log.ring_used)} / ${bytes(status.log.ring_bytes)}`],
    ["sync p50 / p99", `${seconds(readings.quantile(metrics, first.metrics, "holdfast_log_sync_seconds", {}, 0.5))} / ${seconds(readings.quantile(metrics, first.metrics, "holdfast_log_sync_seconds", {}, 0.99))}`],
    [t("slowest_sync"), h("span", { class: status.disk.slow ? "bad" : null }, `${count(status.disk.sync_slowest_ms)} ms`)],
    [t("disk_free"), bytes(status.disk.free_bytes)],
    [t("gateway"), `${status.gateway.name} · ${t(`circuit_${status.gateway.circuit}`)}`],
    [t("payments_in_flight"), count(readings.sum(metrics, "holdfast_payments_in_flight"))],
  ]));
  fill(parts.sinks, table(t("sinks"), [
    { title: t("sink"), cell: (it) => it.name },
    { title: t("state"), cell: (it) => h("span", { class: it.up && it.mode === "run" ? "good" : "warn" }, t(`sink_${it.mode}`), it.up ? "" : ` · ${t("sink_down")}`) },
    { title: t("behind"), kind: "number", cell: (it) => `${bytes(it.lag_bytes)} · ${age(it.age_ms / 1000)}` },
  ], status.sinks));
}
