// Verifies receipts without the core, as `holdfast receipt verify` does.
//
// A receipt is valid if its hash is that of its fields, one of its seals is genuine and none is forged.
// A key that is not given proves nothing, for or against.
import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import { isSignature } from "./ed25519.js";
import { Malformed, readReceipt, type Fields } from "./receiptjson.js";
import type { KeySet, Receipt, SealCheck, Verdict } from "./types.js";

const RECEIPT_BYTES_MAX = 4_096;
const SECRET_BYTES_MIN = 32;

/** What receipts are verified with. A seal whose keys are left out is not checked. */
export interface ReceiptKeys {
  /** The secrets by their id. */
  hmacKeys?: Record<string, string | Uint8Array> | undefined;
  /** The core's key set: `Shop.jwks`. */
  jwks?: KeySet | undefined;
}

/** The keys that were given are not keys of receipts. */
export class KeysUnread extends Error {
  override readonly name = "KeysUnread";
}

/** What is found of a receipt: its JSON as it came, or the object. */
export function verifyReceipt(receipt: string | Uint8Array | Receipt, keys: ReceiptKeys): Verdict {
  const isObject = typeof receipt === "object" && !(receipt instanceof Uint8Array);
  const content = Buffer.from((isObject ? JSON.stringify(receipt) : receipt) as Uint8Array);
  if (content.length > RECEIPT_BYTES_MAX) return unread("too_large");
  const secrets = keys.hmacKeys === undefined ? undefined : secretsOf(keys.hmacKeys);
  const publicKeys = keys.jwks === undefined ? undefined : publicKeysOf(keys.jwks);
  let fields: Fields;
  try {
    fields = readReceipt(content);
  } catch (error) {
    if (error instanceof Malformed) return unread("malformed");
    throw error;
  }
  const stated = Buffer.from(fields.integrity_hash, "hex");
  const isSameHash = timingSafeEqual(hashOf(fields), stated);
  const hmac = checkHmac(fields, stated, secrets);
  const ed25519 = checkSignature(fields, stated, publicKeys);
  return verdictOf(fields, finding(isSameHash, hmac, ed25519), hmac, ed25519);
}

function secretsOf(keys: Record<string, string | Uint8Array>): Map<string, Buffer> {
  const secrets = new Map<string, Buffer>();
  for (const [name, key] of Object.entries(keys)) {
    const secret = Buffer.from(key as Uint8Array);
    if (secret.length < SECRET_BYTES_MIN) {
      throw new KeysUnread(`the receipt key ${name} has fewer than ${SECRET_BYTES_MIN} bytes`);
    }
    secrets.set(name, secret);
  }
  return secrets;
}

/** The Ed25519 keys of a key set by their name; keys of other kinds are passed over. */
function publicKeysOf(jwks: KeySet): Map<string, Buffer> {
  if (!Array.isArray(jwks.keys)) throw new KeysUnread("it is not a JSON Web Key Set");
  const keys = new Map<string, Buffer>();
  for (const key of jwks.keys) {
    if (key.kty !== "OKP" || key.crv !== "Ed25519" || (key.use ?? "sig") !== "sig") continue;
    if (typeof key.kid !== "string" || !/^[A-Za-z0-9_.:-]{1,64}$/.test(key.kid) || keys.has(key.kid)) {
      throw new KeysUnread("a key has no name of its own");
    }
    if (typeof key.x !== "string" || !/^[A-Za-z0-9_-]{43}$/.test(key.x)) {
      throw new KeysUnread(`the key ${key.kid} is not 32 bytes in base64url`);
    }
    keys.set(key.kid, Buffer.from(key.x, "base64url"));
  }
  return keys;
}

function hashOf(fields: Fields): Buffer {
  const names = ["receipt_id", "purchase_id", "user_id", "product_id", "quantity", "amount", "currency", "captured_at"];
  const lines = names.map((name) => `${name}=${fields[name as keyof Fields]}\n`);
  return createHash("sha256").update(`holdfast-receipt-v1\n${lines.join("")}`).digest();
}

function checkHmac(fields: Fields, stated: Buffer, secrets: Map<string, Buffer> | undefined): SealCheck {
  if (secrets === undefined) return "not_checked";
  const secret = secrets.get(fields.key_id);
  if (secret === undefined) return "unknown_key";
  const hmac = createHmac("sha256", secret).update("holdfast-receipt-seal-v1\n").update(stated).update(fields.key_id);
  return timingSafeEqual(hmac.digest(), Buffer.from(fields.hmac, "hex")) ? "genuine" : "mismatch";
}

function checkSignature(fields: Fields, stated: Buffer, keys: Map<string, Buffer> | undefined): SealCheck {
  const signed = fields.ed25519;
  if (signed === undefined) return "absent";
  if (keys === undefined) return "not_checked";
  const key = keys.get(signed.key_id);
  if (key === undefined) return "unknown_key";
  const message = Buffer.concat([Buffer.from("holdfast-receipt-sign-v1\n"), stated, Buffer.from(signed.key_id)]);
  return isSignature(key, Buffer.from(signed.signature, "hex"), message) ? "genuine" : "mismatch";
}

/** The first thing wrong, of all that was looked at. */
function finding(isSameHash: boolean, hmac: SealCheck, ed25519: SealCheck): Verdict["reason"] {
  if (!isSameHash) return "hash_mismatch";
  if (hmac === "mismatch") return "seal_mismatch";
  if (ed25519 === "mismatch") return "signature_mismatch";
  if (hmac === "genuine" || ed25519 === "genuine") return "genuine";
  if (hmac === "unknown_key") return "unknown_key";
  return ed25519 === "unknown_key" ? "unknown_signing_key" : "unsigned";
}

function verdictOf(fields: Fields, reason: Verdict["reason"], hmac: SealCheck, ed25519: SealCheck): Verdict {
  const missing = hmac === "unknown_key" ? [fields.key_id] : [];
  if (ed25519 === "unknown_key" && fields.ed25519 !== undefined) missing.push(fields.ed25519.key_id);
  const valid = reason === "genuine";
  const verdict: Verdict = { valid, key_id: fields.key_id, reason, seals: { hmac, ed25519 } };
  if (!valid && missing.length > 0) verdict.missing_keys = missing;
  return verdict;
}

function unread(reason: "too_large" | "malformed"): Verdict {
  return { valid: false, key_id: null, reason, seals: { hmac: "not_checked", ed25519: "not_checked" } };
}
