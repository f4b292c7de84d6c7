// Verifies webhooks: Standard Webhooks (`v1` and `v1a`), and holdfast's `X-Signature`.
//
// A webhook is genuine if one of its signatures is; malformed ones and those of other versions do not
// count. Remember `id` for as long as you accept time stamps: the same one again is the same event, or,
// with `X-Signature`, a replay.
import { createHmac, timingSafeEqual } from "node:crypto";
import { isSignature, PUBLIC_KEY_BYTES } from "./ed25519.js";

const TOLERANCE_S = 300;
const SIGNATURES_MAX = 8;
const SECRET_BYTES_MIN = 24;
const PART = /^[!-\-/-~]{1,128}$/;
const SECONDS = /^(0|[1-9][0-9]{0,15})$/;

/** It is not genuine, or not of now. */
export class WebhookRefused extends Error {
  readonly reason: "invalid_signature" | "stale_timestamp";

  constructor(reason: WebhookRefused["reason"]) {
    super(reason);
    this.name = "WebhookRefused";
    this.reason = reason;
  }
}

/** A genuine webhook. `id` is its `webhook-id`, or its nonce. */
export interface Webhook {
  id: string;
  timestamp: number;
  /** The body, parsed. */
  json(): unknown;
}

export interface WebhookOptions {
  /** How far from now its time stamp may be; 300. */
  toleranceS?: number;
  /** Unix seconds; now. */
  now?: number;
}

/** The headers of a request: `Headers`, pairs, or what Node's `IncomingMessage` has. */
export type HeadersGiven = Iterable<readonly [string, string]> | Record<string, string | string[] | undefined>;

type Scheme = "v1" | "v1a" | "x";
type Keyed = { scheme: Scheme; bytes: Buffer };
type Claim = { id: string; timestamp: string; prefix: string; signatures: Keyed[] };

/**
 * The webhook; throws `WebhookRefused`.
 *
 * `body` is the raw body. A secret that begins with `whsec_` is for `v1`, a public key that begins with `whpk_`
 * for `v1a`, any other secret for `X-Signature`. Several secrets: while one replaces another.
 */
export function verifyWebhook(
  headers: HeadersGiven,
  body: string | Uint8Array,
  secrets: Iterable<string>,
  { toleranceS = TOLERANCE_S, now = Math.floor(Date.now() / 1_000) }: WebhookOptions = {},
): Webhook {
  const keys = [...secrets].map(keyOf);
  const claim = claimOf(singleHeaders(headers));
  const count = claim?.signatures.length ?? 0;
  if (claim === undefined || count < 1 || count > SIGNATURES_MAX) throw new WebhookRefused("invalid_signature");
  const raw = Buffer.from(body as Uint8Array);
  const message = Buffer.concat([Buffer.from(claim.prefix), raw]);
  const genuine = keys.map((key) => made(key, claim, message));
  if (!genuine.includes(true)) throw new WebhookRefused("invalid_signature");
  const timestamp = Number(claim.timestamp);
  if (Math.abs(timestamp - now) > toleranceS) throw new WebhookRefused("stale_timestamp");
  return { id: claim.id, timestamp, json: () => JSON.parse(raw.toString("utf8")) };
}

/** The scheme that a secret is for, and its bytes. */
function keyOf(secret: string): Keyed {
  if (secret.startsWith("whpk_")) {
    const bytes = base64(secret.slice(5));
    if (bytes?.length !== PUBLIC_KEY_BYTES) throw new TypeError("a public key is whpk_ followed by 32 bytes in base64");
    return { scheme: "v1a", bytes };
  }
  const isStandard = secret.startsWith("whsec_");
  const bytes = isStandard ? base64(secret.slice(6)) : Buffer.from(secret);
  if (bytes === undefined || bytes.length < SECRET_BYTES_MIN) {
    throw new TypeError(`a webhook secret has at least ${SECRET_BYTES_MIN} bytes, in base64 after whsec_`);
  }
  return { scheme: isStandard ? "v1" : "x", bytes };
}

/** Whether one of the signatures was made with this key. */
function made({ scheme, bytes }: Keyed, claim: Claim, message: Buffer): boolean {
  const candidates = claim.signatures.filter((it) => it.scheme === scheme);
  if (scheme === "v1a") return candidates.map((it) => isSignature(bytes, it.bytes, message)).includes(true);
  const expected = createHmac("sha256", bytes).update(message).digest();
  return candidates.map((it) => timingSafeEqual(expected, it.bytes)).includes(true);
}

/** Headers by their name in lower case; null where one was sent twice. */
function singleHeaders(headers: HeadersGiven): Map<string, string | null> {
  const single = new Map<string, string | null>();
  const add = (name: string, value: string) => single.set(name, single.has(name) ? null : value);
  const isIterable = Symbol.iterator in headers;
  for (const [name, value] of isIterable ? (headers as Iterable<readonly [string, string]>) : Object.entries(headers)) {
    for (const one of value === undefined ? [] : [value].flat()) add(name.toLowerCase(), one);
  }
  return single;
}

function claimOf(headers: Map<string, string | null>): Claim | undefined {
  const isOwn = headers.has("x-signature");
  if (isOwn === headers.has("webhook-signature")) return undefined;
  const names = isOwn
    ? ["x-nonce", "x-timestamp", "x-signature"]
    : ["webhook-id", "webhook-timestamp", "webhook-signature"];
  const [id, timestamp, listed] = names.map((name) => headers.get(name) ?? "");
  if (id === undefined || timestamp === undefined || !PART.test(id) || !SECONDS.test(timestamp)) return undefined;
  const signatures = isOwn ? hexSignatures(listed ?? "") : standardSignatures(listed ?? "");
  return { id, timestamp, prefix: isOwn ? `${timestamp}.${id}.` : `${id}.${timestamp}.`, signatures };
}

function hexSignatures(listed: string): Keyed[] {
  const texts = listed.split(/[, \t]/).filter((item) => /^sha256=[0-9A-Fa-f]{64}$/.test(item));
  return texts.map((text) => ({ scheme: "x", bytes: Buffer.from(text.slice(7), "hex") }));
}

function standardSignatures(listed: string): Keyed[] {
  return listed.split(/[ \t]/).flatMap((item): Keyed[] => {
    const [scheme, text] = item.split(",", 2);
    const bytes = base64(text ?? "");
    if (scheme === "v1" && bytes?.length === 32) return [{ scheme, bytes }];
    return scheme === "v1a" && bytes?.length === 64 ? [{ scheme, bytes }] : [];
  });
}

/** Padded base64, written in the one way that there is. */
function base64(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, "base64");
  return bytes.toString("base64") === text ? bytes : undefined;
}
