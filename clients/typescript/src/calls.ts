// What a call does until it has an outcome: repeat, wait, poll.
//
// 1. A keyed call makes its `Idempotency-Key` once, and every attempt has the same.
// 2. Lost connections and answers that ask for another try are repeated after `Retry-After`, or else
//    after a wait that doubles; both with jitter. A call that is not safe to repeat is repeated only
//    after 429, which comes before anything is done.
// 3. 202, and 409 `idempotency_in_flight` with a `Location`, are polled until the outcome is final.
// 4. Nothing is sent after the deadline.
import { randomUUID } from "node:crypto";
import { Pending, ProtocolError, refused, Unreachable } from "./errors.js";
import type { Problem } from "./types.js";

const RETRIED = new Set([408, 429, 502, 503, 504]);
const BACKOFF_FIRST_MS = 200;
const BACKOFF_MAX_MS = 5_000;
const POLL_FIRST_MS = 250;
const POLL_MAX_MS = 3_000;

/** What waits; a test has its own. */
export interface Clock {
  /** Milliseconds that only grow. */
  now(): number;
  sleep(ms: number): Promise<void>;
}

/** One attempt of a call, as an observer sees it. `status` is null where no answer came. */
export interface Attempt {
  method: string;
  path: string;
  number: number;
  status: number | null;
  requestId: string | null;
  replayed: boolean;
}

/** How long and how often a call tries. */
export interface Policy {
  /** One attempt; 10,000. */
  timeoutMs?: number;
  /** The whole call, with its waits and polls, unless the call names another; 30,000. */
  deadlineMs?: number;
  /** Repetitions of one request, polls aside; 4. */
  retriesMax?: number;
  clock?: Clock;
  /** Hears of each attempt, to log or count it. */
  observer?: (attempt: Attempt) => void;
}

/** The options of a call that is safe to repeat by its key. */
export interface KeyedOptions {
  /** Given where another process may make the same call; else made for this call. */
  key?: string;
  deadlineMs?: number;
}

/** A request that is to be brought to an outcome. */
export interface Call {
  method: string;
  path: string;
  body?: unknown;
  query?: Query | undefined;
  headers?: Record<string, string>;
  key?: string | undefined;
  /** Whether a repetition does no more than one request; true unless it is said. */
  repeatable?: boolean;
  deadlineMs?: number | undefined;
}

export type Query = Record<string, string | number | undefined>;

/** An answer of the server. `body` is undefined where it is not JSON. */
export interface Answer {
  status: number;
  headers: Headers;
  body: any;
}

const realClock: Clock = {
  now: () => performance.now(),
  sleep: (ms) => new Promise((done) => setTimeout(done, ms)),
};

/** The key of a call: the one that was given, or one that nobody else makes. */
export function keyOf(given: string | undefined): string {
  if (given === undefined) return randomUUID();
  if (!/^[!#-~]{8,255}$/.test(given)) {
    throw new TypeError("an idempotency key has 8 to 255 characters of visible ASCII, without quotes");
  }
  return given;
}

/** An id as one segment of a path, so that it leads nowhere else. */
export function segment(id: string): string {
  if (id === "" || id === "." || id === "..") throw new TypeError(`"${id}" is not an id`);
  return encodeURIComponent(id);
}

/** Brings calls to their outcome, with one API key. */
export class Caller {
  readonly #base: URL;
  readonly #prefix: string;
  readonly #apiKey: string;
  readonly #policy: Required<Omit<Policy, "observer">> & Pick<Policy, "observer">;

  constructor(baseUrl: string, apiKey: string, policy: Policy = {}) {
    this.#base = new URL(baseUrl);
    if (!/^https?:$/.test(this.#base.protocol) || this.#base.search || this.#base.hash) {
      throw new TypeError("baseUrl must be http://HOST[:PORT][/PATH] or https://…");
    }
    this.#prefix = this.#base.pathname.replace(/\/+$/, "");
    this.#apiKey = apiKey;
    this.#policy = { timeoutMs: 10_000, deadlineMs: 30_000, retriesMax: 4, clock: realClock, ...policy };
  }

  /** The answer of a call: 2xx that is not 202, or 202 where the call does not wait. */
  async call(call: Call): Promise<Answer> {
    return this.#repeated(call, this.#endsAt(call));
  }

  /**
   * What a call led to, which is polled until `isFinal`. Where that is no `isResult`, the request is sent
   * again: its stored answer says why.
   */
  async settled<T>(call: Call, isFinal: (state: T) => boolean, isResult: (state: T) => boolean): Promise<T> {
    const endsAt = this.#endsAt(call);
    const first = await this.#repeated(call, endsAt);
    if (first.status !== 202) return first.body as T;
    const state = await this.#polled(call, first, isFinal, endsAt);
    if (isResult(state)) return state;
    const facts = state as { reason?: string; purchase_id?: string };
    if (facts.reason === "gateway_unavailable") {
      // Its key is free again: the same request would start another payment.
      throw refused(gatewayUnavailable(facts.purchase_id, first), call.key);
    }
    const stored = await this.#repeated(call, endsAt);
    if (stored.status === 202) throw new Pending(stored.body, stored.headers.get("location") ?? "", call.key);
    return stored.body as T;
  }

  /** All entries of a list, page after page. */
  async *pages<T>(path: string, field: string, query: Query): AsyncGenerator<T, void, undefined> {
    let after: string | undefined;
    do {
      const page = (await this.call({ method: "GET", path, query: { ...query, after } })).body;
      yield* page[field] as T[];
      after = page.next ?? undefined;
    } while (after !== undefined);
  }

  #endsAt(call: Call): number {
    return this.#policy.clock.now() + (call.deadlineMs ?? this.#policy.deadlineMs);
  }

  /** Sends a request until there is an answer to give; in-flight answers come as 202. */
  async #repeated(call: Call, endsAt: number): Promise<Answer> {
    for (let number = 0; ; number++) {
      const answer = await this.#attempt(call, number, endsAt);
      const isAnswer = !(answer instanceof Error);
      if (isAnswer && isInFlight(answer) && answer.headers.has("location")) return { ...answer, status: 202 };
      if (isAnswer && !RETRIED.has(answer.status) && !isInFlight(answer)) return judged(call, answer);
      const wait = waitMs(isAnswer ? answer : undefined, BACKOFF_FIRST_MS * 2 ** number, BACKOFF_MAX_MS);
      const isSafe = (call.repeatable ?? true) || (isAnswer && answer.status === 429);
      const isTooLate = this.#policy.clock.now() + wait >= endsAt;
      if (number === this.#policy.retriesMax || !isSafe || isTooLate) {
        if (isAnswer) return judged(call, answer);
        throw new Unreachable(`${call.method} ${call.path}: no answer`, call.key, answer);
      }
      await this.#policy.clock.sleep(wait);
    }
  }

  async #polled<T>(call: Call, first: Answer, isFinal: (state: T) => boolean, endsAt: number): Promise<T> {
    let state = first.body as T;
    let last: Answer | undefined = first;
    const location = first.headers.get("location") ?? "";
    const poll: Call = { method: "GET", path: this.#ownPath(location, call.key), key: undefined };
    for (let step = POLL_FIRST_MS; ; step *= 1.6) {
      const wait = waitMs(last, step, POLL_MAX_MS);
      if (this.#policy.clock.now() + wait >= endsAt) throw new Pending(state, location, call.key);
      await this.#policy.clock.sleep(wait);
      const read = await this.#attempt(poll, 0, endsAt);
      last = read instanceof Error ? undefined : read;
      if (last === undefined || RETRIED.has(last.status)) continue;
      state = judged({ ...poll, key: call.key }, last).body as T;
      if (isFinal(state)) return state;
    }
  }

  /** The path of a `Location`, which the API key is sent to: only of this server. */
  #ownPath(location: string, key: string | undefined): string {
    const path = location.startsWith(this.#base.origin) ? location.slice(this.#base.origin.length) : location;
    if (!path.startsWith("/") || path.startsWith("//")) {
      throw new ProtocolError(`Location "${location}" is not a path of this server`, key);
    }
    return path;
  }

  async #attempt(call: Call, number: number, endsAt: number): Promise<Answer | Error> {
    const headers: Record<string, string> = { Authorization: `Bearer ${this.#apiKey}`, Accept: "application/json" };
    if (call.body !== undefined) headers["Content-Type"] = "application/json";
    Object.assign(headers, call.headers);
    if (call.key !== undefined) headers["Idempotency-Key"] = call.key;
    const left = Math.max(endsAt - this.#policy.clock.now(), 1);
    // What no request can be made of is a mistake of the caller, and no lost connection.
    const request = new Request(this.#base.origin + this.#prefix + call.path + written(call.query), {
      method: call.method,
      headers,
      redirect: "manual",
      signal: AbortSignal.timeout(Math.ceil(Math.min(this.#policy.timeoutMs, left))),
      ...(call.body === undefined ? {} : { body: JSON.stringify(call.body) }),
    });
    const answer = await send(request);
    this.#policy.observer?.(observed(call, number, answer));
    return answer;
  }
}

/** One attempt; the error where no whole answer came in time. */
async function send(request: Request): Promise<Answer | Error> {
  try {
    const response = await fetch(request);
    const text = await response.text();
    return { status: response.status, headers: response.headers, body: parsed(text) };
  } catch (lost) {
    return lost instanceof Error ? lost : new Error(String(lost));
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function observed(call: Call, number: number, answer: Answer | Error): Attempt {
  const headers = answer instanceof Error ? new Headers() : answer.headers;
  return {
    method: call.method,
    path: call.path,
    number,
    status: answer instanceof Error ? null : answer.status,
    requestId: headers.get("x-request-id"),
    replayed: headers.get("idempotent-replayed") === "true",
  };
}

function judged(call: Call, answer: Answer): Answer {
  const isObject = typeof answer.body === "object" && answer.body !== null;
  if (isObject && answer.status >= 200 && answer.status < 300) return answer;
  if (isObject && typeof answer.body.reason === "string") {
    const problem = { detail: "", request_id: "", ...answer.body, status: answer.status };
    throw refused(problem as Problem, call.key, retryAfterS(answer));
  }
  throw new ProtocolError(`${call.method} ${call.path}: ${answer.status} without holdfast's JSON`, call.key);
}

function isInFlight(answer: Answer): boolean {
  return answer.status === 409 && answer.body?.reason === "idempotency_in_flight";
}

function retryAfterS(answer: Answer | undefined): number | undefined {
  const text = answer?.headers.get("retry-after") ?? "";
  return /^\d+$/.test(text) ? Number(text) : undefined;
}

/** Until the next attempt: never before `Retry-After`, and not all clients at once. */
function waitMs(answer: Answer | undefined, boundMs: number, mostMs: number): number {
  const bound = Math.min(boundMs, mostMs);
  const asked = retryAfterS(answer);
  if (asked !== undefined) return asked * 1_000 + Math.random() * Math.min(bound, 1_000);
  return (bound * (1 + Math.random())) / 2;
}

function written(query: Query | undefined): string {
  const given = Object.entries(query ?? {}).flatMap(([name, value]) =>
    value === undefined ? [] : [[name, String(value)] as [string, string]],
  );
  return given.length === 0 ? "" : `?${new URLSearchParams(given)}`;
}

function gatewayUnavailable(purchase_id: string | undefined, answer: Answer): Problem {
  return {
    type: "https://holdfast.dev/problems/gateway_unavailable",
    title: "The payment gateway is unavailable",
    status: 503,
    reason: "gateway_unavailable",
    detail: "The payment gateway could not be reached in time. Nothing was charged.",
    request_id: answer.headers.get("x-request-id") ?? "",
    ...(purchase_id === undefined ? {} : { purchase_id }),
  };
}
