// Reads the JSON of a receipt, strictly: no field more, less or twice, and one way to write a number.
//
// `JSON.parse` keeps the last of two fields of one name, takes `2.0` for 2 and rounds large numbers, so
// that what is verified would not be what others read.

/** What of a receipt is hashed and sealed; numbers as they are written. */
export interface Fields {
  receipt_id: string;
  purchase_id: string;
  user_id: string;
  product_id: string;
  quantity: string;
  amount: string;
  currency: string;
  /** In UTC with milliseconds. */
  captured_at: string;
  integrity_hash: string;
  key_id: string;
  hmac: string;
  ed25519: { key_id: string; signature: string } | undefined;
}

/** It is not a receipt. */
export class Malformed extends Error {}

/** A number's digits, to distinguish it from text. */
type Whole = { digits: string };
type Value = string | Whole | Map<string, Value>;

const ID = /^[A-Za-z0-9_.:-]{1,64}$/;
const HASH = /^[0-9a-f]{64}$/;
const TIME = /^(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))$/;
const TIME_CHARS_MAX = 58;
const DEPTH_MAX = 2;

export function readReceipt(content: Uint8Array): Fields {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(content);
  } catch {
    throw new Malformed("not UTF-8");
  }
  const all = new Scanner(text).whole();
  const required = "receipt_id purchase_id user_id product_id quantity amount captured_at integrity_hash key_id hmac";
  expectFields(all, required.split(" "), ["ed25519"]);
  const amount = object(all.get("amount"), ["value", "currency"]);
  const signed = all.has("ed25519") ? object(all.get("ed25519"), ["key_id", "signature"]) : undefined;
  return {
    receipt_id: word(all.get("receipt_id"), /^r_[0-9a-f]{32}$/),
    purchase_id: word(all.get("purchase_id"), /^p_[0-9a-f]{32}$/),
    user_id: word(all.get("user_id"), ID),
    product_id: word(all.get("product_id"), ID),
    quantity: whole(all.get("quantity"), 1n << 32n),
    amount: whole(amount.get("value"), 1n << 63n),
    currency: word(amount.get("currency"), /^[A-Z]{3}$/),
    captured_at: instant(word(all.get("captured_at"), TIME)),
    integrity_hash: word(all.get("integrity_hash"), HASH),
    key_id: word(all.get("key_id"), ID),
    hmac: word(all.get("hmac"), HASH),
    ed25519: signed && {
      key_id: word(signed.get("key_id"), ID),
      signature: word(signed.get("signature"), /^[0-9a-f]{128}$/),
    },
  };
}

/** Objects, texts and whole numbers, which is all that a receipt has. */
class Scanner {
  #at = 0;

  constructor(readonly text: string) {}

  whole(): Map<string, Value> {
    const value = this.#value(0);
    expect(value instanceof Map && this.#at === this.text.length);
    return value as Map<string, Value>;
  }

  #value(depth: number): Value {
    this.#take(/[ \t\n\r]*/y);
    let value: Value;
    if (this.text[this.#at] === "{") value = this.#object(depth);
    else if (this.text[this.#at] === '"') value = this.#string();
    else value = { digits: this.#take(/-?(?:0|[1-9]\d*)/y) };
    this.#take(/[ \t\n\r]*/y);
    return value;
  }

  #object(depth: number): Map<string, Value> {
    expect(depth < DEPTH_MAX);
    const fields = new Map<string, Value>();
    this.#take(/\{[ \t\n\r]*/y);
    while (this.text[this.#at] !== "}") {
      if (fields.size > 0) this.#take(/,[ \t\n\r]*/y);
      const name = this.#string();
      expect(!fields.has(name));
      this.#take(/[ \t\n\r]*:/y);
      fields.set(name, this.#value(depth + 1));
    }
    this.#at += 1;
    return fields;
  }

  #string(): string {
    const literal = this.#take(/"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4}))*"/y);
    return JSON.parse(literal) as string;
  }

  #take(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.text)?.[0];
    if (found === undefined) throw new Malformed(`unexpected at ${this.#at}`);
    this.#at += found.length;
    return found;
  }
}

/** The instant that an RFC 3339 time says, in UTC with milliseconds. */
function instant(text: string): string {
  const match = TIME.exec(text);
  expect(match !== null && text.length <= TIME_CHARS_MAX);
  const [, year, month, day, hour, minute, second, fraction = "", sign, hours = "0", minutes = "0"] = match ?? [];
  const ms = fraction.padEnd(3, "0");
  expect(/^0*$/.test(ms.slice(3)));
  const [y, mo, d, h, mi, s] = [year, month, day, hour, minute, second].map(Number) as [number, number, number, number, number, number];
  expect(h <= 23 && mi <= 59 && s <= 60 && Number(hours) <= 23 && Number(minutes) <= 59);
  const midnight = new Date(0);
  midnight.setUTCFullYear(y, mo - 1, d);
  expect(midnight.getUTCMonth() === mo - 1 && midnight.getUTCDate() === d);
  const offset = (Number(hours) * 60 + Number(minutes)) * (sign === "-" ? -1 : 1);
  const start = midnight.getTime() + (h * 60 + mi - offset) * 60_000;
  if (s === 60) {
    // A leap second ends a month of UTC; Unix time counts it as the next second.
    const next = new Date(start + 60_000);
    expect(next.getUTCDate() === 1 && next.getUTCHours() === 0 && next.getUTCMinutes() === 0);
  }
  const at = start + s * 1_000 + Number(ms.slice(0, 3));
  expect(at >= 0 && at <= 253_402_300_799_999);
  return new Date(at).toISOString();
}

function expectFields(object: Map<string, Value>, required: string[], optional: string[]): void {
  const known = new Set([...required, ...optional]);
  expect(required.every((name) => object.has(name)) && [...object.keys()].every((name) => known.has(name)));
}

function object(value: Value | undefined, fields: string[]): Map<string, Value> {
  if (!(value instanceof Map)) throw new Malformed("not an object");
  expectFields(value, fields, []);
  return value;
}

function word(value: Value | undefined, pattern: RegExp): string {
  if (typeof value !== "string" || !pattern.test(value)) throw new Malformed("not such a text");
  return value;
}

function whole(value: Value | undefined, bound: bigint): string {
  if (value === undefined || typeof value === "string" || value instanceof Map) throw new Malformed("not a number");
  expect(!value.digits.startsWith("-") && value.digits.length < 20 && BigInt(value.digits) < bound);
  return value.digits;
}

function expect(holds: boolean): void {
  if (!holds) throw new Malformed("not a receipt");
}
