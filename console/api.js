// Calls to the API of the core that serves this page.
//
// The key is kept in this module's memory alone: it is in no storage, no address and no message, and
// a reload forgets it.

const root = new URL(".", document.baseURI);

let key = null;
let whenRefused = () => {};

/** Uses this key from now on; null forgets it. */
export function useKey(next) {
  key = next;
}

/** Calls `then` when the core no longer knows the key. */
export function onUnauthorized(then) {
  whenRefused = then;
}

/** A refusal by the core, with the problem details that it answered. */
export class Refusal extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || String(status));
    this.status = status;
    this.reason = problem.reason || null;
    this.problem = problem;
  }
}

/** No answer: the core, or the network to it, is gone. What was sent may have been done. */
export class NoAnswer extends Error {}

/** One call. `body` is sent as JSON, or as it is with `type`. */
export async function call(method, path, { body, type, headers = {}, signal } = {}) {
  const sent = new Headers(headers);
  if (key !== null) sent.set("Authorization", `Bearer ${key}`);
  let payload;
  if (body !== undefined) {
    sent.set("Content-Type", type || "application/json");
    payload = type && typeof body === "string" ? body : JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(new URL(path.slice(1), root), {
      method,
      headers: sent,
      body: payload,
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
      signal,
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new NoAnswer();
  }
  const text = await response.text().catch(() => {
    throw new NoAnswer();
  });
  // The probe says 503 for an answer, not for a refusal.
  if (!response.ok && path !== "/readyz") {
    const refusal = new Refusal(response.status, parsed(text) || {});
    refusal.retryAfterS = Number(response.headers.get("Retry-After")) || null;
    if (response.status === 401) whenRefused(refusal);
    throw refusal;
  }
  const isJson = (response.headers.get("Content-Type") || "").includes("json");
  return { status: response.status, etag: response.headers.get("ETag"), body: isJson ? parsed(text) : text };
}

/** The body of a read. */
export async function get(path, query = {}) {
  return (await call("GET", path + queryText(query))).body;
}

/** `?a=1&b=2` without what is empty. */
export function queryText(query) {
  const given = Object.entries(query).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return given.length === 0 ? "" : `?${new URLSearchParams(given)}`;
}

/** An id as one part of a path. */
export function segment(id) {
  return encodeURIComponent(id);
}

/** A new idempotency key. `crypto.randomUUID` is absent on plain HTTP; this is not. */
export function newIdempotencyKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return `console-${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
