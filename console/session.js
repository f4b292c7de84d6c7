// Who is signed in, and acts: what the role does not allow is disabled and says why.
import { freshId, h, say, alertOf, fill } from "./dom.js";
import { t } from "./words.js";

let who = null;

/** `{name, role}` of the key in use; null before. */
export function signedIn() {
  return who;
}

export function signIn(as) {
  who = as;
}

/** Why this key cannot act; null if it can. */
export function mayNotAct() {
  return who && who.role === "admin" ? null : t("may_not_act", { role: who ? who.role : "–" });
}

/** A button that acts: disabled with the reason for who may only see. */
export function actButton(text, act, { kind = null, label = null } = {}) {
  const reason = mayNotAct();
  return h("button", {
    type: "button",
    class: kind,
    disabled: reason !== null,
    title: reason,
    "aria-label": label,
    onclick: act,
  }, text);
}

/**
 * Asks before an act. `lines` say amount and consequence; `inputs` are fields of the form. `act` gets
 * the form's data and does it; a refusal is shown in the dialog, which stays open. Resolves with what
 * `act` gave, or null if the operator went back.
 */
export function confirm({ title, lines = [], inputs = [], action, danger = false, act }) {
  const opener = document.activeElement;
  const titleId = freshId();
  const wrong = h("div", {});
  const done = h("button", { type: "submit", class: danger ? "danger" : "main" }, action);
  const form = h("form", { method: "dialog" }, lines.map((line) => h("p", {}, line)), inputs, wrong,
    h("div", { class: "row" }, done, h("button", { type: "button", onclick: () => dialog.close() }, t("back"))));
  const dialog = h("dialog", { "aria-labelledby": titleId }, h("h2", { id: titleId }, title), form);
  return new Promise((resolve) => {
    let outcome = null;
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      done.disabled = true;
      fill(wrong);
      try {
        outcome = (await act(new FormData(form))) ?? {};
        dialog.close();
      } catch (error) {
        fill(wrong, alertOf(error));
      } finally {
        done.disabled = false;
      }
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      if (opener && opener.isConnected) opener.focus();
      if (outcome !== null) say(`${t("done")}: ${title}`);
      resolve(outcome);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
