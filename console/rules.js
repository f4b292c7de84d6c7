// The risk rules in force: what they hit, editing them, and trying others on the recorded drop.
import { call, get } from "./api.js";
import { alertOf, facts, fill, freshId, h, section, table } from "./dom.js";
import { count, time } from "./format.js";
import { actButton, confirm } from "./session.js";
import { t } from "./words.js";

export async function rules(page) {
  page.head(t("nav_rules"));
  const [now, settings] = await Promise.all([get("/admin/risk/rules"), get("/admin/config")]);
  if (!page.isShown()) return;
  const model = now.scoring.model;
  page.add(
    section(t("rules_in_force"),
      facts([
        [t("version"), now.version === null ? null : `LSN ${now.version}`],
        [t("set_at"), now.set_at && time(now.set_at)],
        [t("by"), now.set_by || now.source],
        [t("model"), model && `${model.name || model.kind} (${model.digest})`],
      ]),
      table(t("rules_in_force"), [
        { title: t("name"), cell: (it) => it.name },
        { title: t("when"), kind: "wide", cell: (it) => h("code", {}, it.when) },
        { title: t("then"), cell: (it) => t(`then_${it.then}`) },
        { title: t("hits"), kind: "number", cell: (it) => count(it.hits) },
        { title: t("warms_up_until"), cell: (it) => (it.warms_up_until ? time(it.warms_up_until) : "") },
      ], now.rules)),
    section(t("edit_rules"), editor(page, now.text || "")),
    section(t("dry_run"), dryRun(settings["storage.data_dir"] || "./data")));
  if (now.previous) page.add(section(t("previous_rules"), h("pre", {}, now.previous.text || "")));
}

function editor(page, text) {
  const id = freshId();
  const wrong = h("div", { id: `${id}w` });
  const area = h("textarea", { id, spellcheck: "false", autocapitalize: "off", "aria-describedby": `${id}w`, value: text });
  const put = actButton(t("put_rules"), () => {
    fill(wrong);
    area.removeAttribute("aria-invalid");
    return confirm({
      title: t("put_rules"),
      lines: [t("put_rules_does")],
      action: t("put_rules"),
      // What does not parse is shown in the editor, at its place.
      act: () => call("PUT", "/admin/risk/rules", { body: area.value, type: "application/toml" })
        .catch((error) => ({ error })),
    }).then((done) => {
      if (done === null) return;
      if (done.error) showWrong(area, wrong, done.error);
      else page.again();
    });
  }, { kind: "main" });
  const save = h("button", { type: "button", onclick: () => download("rules.toml", area.value) }, t("download_rules"));
  return [h("label", { for: id }, t("rules_text")), area, wrong, h("div", { class: "row" }, put, save)];
}

function showWrong(area, wrong, error) {
  const place = (error.problem?.errors || []).find((it) => it.line);
  fill(wrong, alertOf(error));
  area.setAttribute("aria-invalid", "true");
  area.focus();
  if (!place) return;
  const lines = area.value.split("\n");
  const start = lines.slice(0, place.line - 1).reduce((sum, line) => sum + line.length + 1, 0);
  const line = lines[place.line - 1] ?? "";
  fill(wrong, h("p", { class: "notice bad", role: "alert" }, t("wrong_at", { line: place.line, column: place.column }), ": ", place.message),
    h("pre", { "aria-hidden": "true" }, `${line}\n${" ".repeat(Math.max(place.column - 1, 0))}^`));
  area.setSelectionRange(start + place.column - 1, start + line.length);
  const lineHeight = area.scrollHeight / Math.max(lines.length, 1);
  area.scrollTop = Math.max(0, (place.line - 4) * lineHeight);
}

function download(name, text) {
  const url = URL.createObjectURL(new Blob([text], { type: "application/toml" }));
  h("a", { href: url, download: name }).click();
  URL.revokeObjectURL(url);
}

function dryRun(dataDir) {
  return [
    h("p", {}, t("dry_run_text")),
    h("pre", {}, `holdfast replay ${dataDir} --rules rules.toml`),
  ];
}
