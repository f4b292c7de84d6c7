// What a call can end with beside its result.
import type { Declined, HoldLeft, Problem, Reason } from "./types.js";

/** Every error of a call. `idempotencyKey`, where the call has one: the same call with this key is safe. */
export class HoldfastError extends Error {
  readonly idempotencyKey: string | undefined;

  constructor(sentence: string, idempotencyKey?: string, cause?: unknown) {
    super(sentence, cause === undefined ? undefined : { cause });
    this.name = new.target.name;
    this.idempotencyKey = idempotencyKey;
  }
}

/** The core refused (RFC 9457). `problem` has the reason and the facts that it is about. */
export class Refused<P extends Problem = Problem> extends HoldfastError {
  readonly problem: P;
  readonly retryAfterS: number | undefined;

  constructor(problem: P, idempotencyKey?: string, retryAfterS?: number) {
    super(`${problem.reason} (${problem.status}): ${problem.detail}`, idempotencyKey);
    this.problem = problem;
    this.retryAfterS = retryAfterS;
  }

  /** The word of the refusal. A newer core may have others: keep a branch for them. */
  get reason(): Reason {
    return this.problem.reason;
  }

  get status(): number {
    return this.problem.status;
  }

  get requestId(): string {
    return this.problem.request_id;
  }
}

/** The payment was declined and nothing is charged. */
export class PaymentDeclined extends Refused<Declined> {
  get retryAdvice(): Declined["retry_advice"] {
    return this.problem.retry_advice;
  }

  /** The hold, if it stays open: pay for it with a new key. */
  get hold(): HoldLeft | undefined {
    return this.problem.hold;
  }
}

/** No answer came. Whether the request took effect is not known: repeat it with its key. */
export class Unreachable extends HoldfastError {}

/** The deadline passed before the outcome was known; the core carries on. */
export class Pending<S = unknown> extends HoldfastError {
  /** What was last read. */
  readonly state: S;
  /** Where to read it again. */
  readonly location: string;

  constructor(state: S, location: string, idempotencyKey?: string) {
    super(`${location} has no outcome yet`, idempotencyKey);
    this.state = state;
    this.location = location;
  }
}

/** The answer is not one of holdfast's: another server, or a proxy in between. */
export class ProtocolError extends HoldfastError {}

/** The error for a problem document. */
export function refused(problem: Problem, idempotencyKey?: string, retryAfterS?: number): Refused {
  const Kind = problem.reason === "payment_declined" ? PaymentDeclined : Refused;
  return new Kind(problem as Declined, idempotencyKey, retryAfterS);
}
