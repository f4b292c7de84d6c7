// Money, numbers and times as people read them.
import { language, t } from "./words.js";

/** Currencies of ISO 4217 whose minor unit is not a hundredth; a test compares it with the core's. */
export const DECIMALS = {
  BHD: 3, BIF: 0, CLF: 4, CLP: 0, DJF: 0, GNF: 0, IQD: 3, ISK: 0, JOD: 3, JPY: 0, KMF: 0, KRW: 0, KWD: 3,
  LYD: 3, OMR: 3, PYG: 0, RWF: 0, TND: 3, UGX: 0, UYI: 0, UYW: 4, VND: 0, VUV: 0, XAF: 0, XAG: 0, XAU: 0,
  XBA: 0, XBB: 0, XBC: 0, XBD: 0, XDR: 0, XOF: 0, XPD: 0, XPF: 0, XPT: 0, XSU: 0, XTS: 0, XUA: 0, XXX: 0,
};

export function decimalsOf(currency) {
  return DECIMALS[currency] ?? 2;
}

/** Minor units as an amount: `1,999` of USD is `19.99 USD`. By digits, never by fractions. */
export function money(minorUnits, currency) {
  if (minorUnits === null || minorUnits === undefined) return "–";
  return `${units(minorUnits, currency, true)} ${currency ?? "?"}`;
}

export function moneyOf(amount) {
  return amount ? money(amount.value, amount.currency) : "–";
}

/** The same without the currency; as in an input, or with groups of thousands. */
export function units(minorUnits, currency, grouped) {
  const decimals = decimalsOf(currency);
  const digits = String(Math.abs(minorUnits)).padStart(decimals + 1, "0");
  const whole = digits.slice(0, digits.length - decimals);
  const part = decimals > 0 ? `.${digits.slice(-decimals)}` : "";
  const shown = grouped ? whole.replace(/\B(?=(\d{3})+$)/g, ",") : whole;
  return `${minorUnits < 0 ? "-" : ""}${shown}${part}`;
}

/** What a person typed as minor units; null where it is no amount of this currency. */
export function minorUnits(text, currency) {
  const decimals = decimalsOf(currency);
  const match = /^(\d{1,13})(?:\.(\d+))?$/.exec(text.trim().replaceAll(",", ""));
  if (!match || (match[2] || "").length > decimals) return null;
  return Number(match[1] + (match[2] || "").padEnd(decimals, "0"));
}

export function count(value) {
  return value === null || value === undefined ? "–" : value.toLocaleString(language());
}

/** A rate or a share with few digits. */
export function rough(value) {
  if (value === null || !Number.isFinite(value)) return "–";
  return value.toLocaleString(language(), { maximumFractionDigits: value < 10 ? 1 : 0 });
}

export function bytes(value) {
  if (value === null || value === undefined) return "–";
  const names = ["B", "KiB", "MiB", "GiB", "TiB"];
  let step = 0;
  for (; value >= 1024 && step < names.length - 1; step += 1) value /= 1024;
  return `${rough(value)} ${names[step]}`;
}

/** Seconds as the shortest text with three digits. */
export function seconds(value) {
  if (value === null || !Number.isFinite(value)) return "–";
  if (value < 0.001) return `${Math.max(1, Math.round(value * 1e6))} µs`;
  if (value < 1) return `${(value * 1e3).toPrecision(3)} ms`;
  return `${value.toPrecision(3)} s`;
}

/** A time in the browser's zone, with UTC as its title. */
export function time(text) {
  if (!text) return "–";
  const element = document.createElement("time");
  element.dateTime = text;
  element.title = `${text} UTC`;
  element.textContent = new Date(text).toLocaleString(language(), { dateStyle: "medium", timeStyle: "medium" });
  return element;
}

/** An age, roughly. */
export function age(ageS) {
  if (ageS < 120) return t("ago_s", { n: count(Math.round(ageS)) });
  if (ageS < 7200) return t("ago_min", { n: count(Math.round(ageS / 60)) });
  return t("ago_h", { n: count(Math.round(ageS / 3600)) });
}

/** An RFC 3339 time as `datetime-local` has it, in the browser's zone; seconds only where needed. */
export function localInput(text) {
  if (!text) return "";
  const at = new Date(text);
  const local = new Date(at.getTime() - at.getTimezoneOffset() * 60000);
  return local.toISOString().slice(0, 23).replace(/(:00)?\.000$/, "");
}

/** The other way; null for no time. */
export function ofLocalInput(text) {
  return text === "" ? null : new Date(text).toISOString();
}
