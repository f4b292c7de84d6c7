// What several views say of the core's status.
import { h } from "./dom.js";
import { t } from "./words.js";

/** Whether purchases are accepted; if not, why and what to do. */
export function readiness({ status, reason, detail }) {
  if (status === "ready") return h("p", { class: "good", "data-ready": "ready" }, t("ready"));
  return h("div", { class: "notice bad", role: "alert", "data-ready": reason },
    h("strong", {}, t("not_ready", { reason: t(`ready_${reason}`) })), h("p", {}, detail),
    reason === "restored_copy" && h("p", {}, h("a", { href: "#/operations" }, t("go_on_with_copy"))));
}

/** What waits for a person. */
export function attentionCount(status) {
  const sinks = status.sinks.filter((it) => !it.up || it.mode !== "run" || it.dead_letter_bytes > 0).length;
  return status.stuck_voids + status.differing_captures + status.reviews + sinks;
}
