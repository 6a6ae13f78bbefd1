/** What a request may cost: bytes, time, and how many there may be at once. */
import type { Asked } from "./asked.ts";
import { Problem, unavailable } from "./problems.ts";

/** A request's place: given back once, with what was made for the request. */
export class Place {
  #free: (() => void) | undefined;
  #isLeft = false;
  readonly #givenBack: (place: Place) => void;
  constructor(
    /** When whatever goes on there must have ended long ago. */
    readonly until: number,
    givenBack: (place: Place) => void,
  ) {
    this.#givenBack = givenBack;
  }
  get isLeft(): boolean {
    return this.#isLeft;
  }
  /** Frees what was made for the request: when the place is given back, at once where it was. */
  set onLeave(free: () => void) {
    if (this.#isLeft) free();
    else this.#free = free;
  }
  /** Gives it back; twice is fine. */
  leave(): void {
    if (this.#isLeft) return;
    this.#isLeft = true;
    this.#givenBack(this);
    this.#free?.();
  }
}

/**
 * Places for requests that are under way. Those that were not given back in time are taken away: Workers stop a request whose client
 * has left where it stands, without a word to its code.
 */
export class Places {
  readonly #taken = new Set<Place>();
  readonly #count: number;
  readonly #milliseconds: number;
  constructor({ concurrency, milliseconds }: { readonly concurrency: number; readonly milliseconds: number }) {
    this.#count = concurrency;
    this.#milliseconds = milliseconds;
  }

  /** @throws Problem 503 where all are taken */
  take(): Place {
    const now = Date.now();
    for (const place of this.#taken) if (now > place.until) place.leave();
    if (this.#taken.size >= this.#count)
      throw unavailable(`${this.#count} requests are under way, which is all that are taken at once. Try again.`);
    // A body, and what it asks for, may each take their time.
    const place = new Place(now + 2 * this.#milliseconds, (own) => this.#taken.delete(own));
    this.#taken.add(place);
    return place;
  }

  /** Does something in a place. @throws Problem 503 where all are taken */
  async holding<T>(work: () => T | Promise<T>): Promise<T> {
    const place = this.take();
    try {
      return await work();
    } finally {
      place.leave();
    }
  }
}

/** Settles as `work` does, unless that takes longer. @throws what `late` gives; Problem where `signal` tells that the client left */
export async function within<T>(
  work: Promise<T>,
  milliseconds: number,
  late: () => Problem,
  signal?: AbortSignal,
): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let leave = (): void => {};
  const end = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(late()), milliseconds);
    leave = () => reject(left());
    if (signal?.aborted) leave();
    else signal?.addEventListener("abort", leave);
  });
  try {
    return await Promise.race([work, end]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", leave);
  }
}

/** Nobody reads it: the client is not there any more. */
export const left = (): Problem => new Problem(400, "The client has left.");

/**
 * The request's body. No more than `bytes` of it are ever held, and a client that takes too long is not waited for.
 * @throws Problem 413, 408, or 400 where the client breaks off
 */
export async function readBody(
  request: Asked,
  { bytes, milliseconds }: { readonly bytes: number; readonly milliseconds: number },
  signal?: AbortSignal,
): Promise<Uint8Array> {
  const tooLarge = (): Problem =>
    new Problem(413, `The body is larger than ${bytes} bytes, which is the most that is taken. Send less at a time.`);
  const late = (): Problem => new Problem(408, `The body did not arrive within ${milliseconds} ms. Send it faster.`);
  const declared = Number(request.headers.get("content-length") ?? Number.NaN);
  if (declared > bytes) throw tooLarge();
  // Under nabla's own server, what says how long it is cannot be longer: Node's parser sees to that.
  if (declared >= 0 && request.whole)
    return new Uint8Array(await within(request.arrayBuffer().catch(brokenOff), milliseconds, late, signal));
  if (!request.body) return new Uint8Array(0);
  const reader = request.body.getReader();
  try {
    return await within(gather(reader, bytes, tooLarge), milliseconds, late, signal);
  } catch (error) {
    reader.cancel().catch(() => {});
    throw error;
  }
}

async function gather(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  bytes: number,
  tooLarge: () => Problem,
): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  for (;;) {
    const { done, value } = await reader.read().catch(brokenOff);
    if (done) break;
    length += value.length;
    if (length > bytes) throw tooLarge();
    pieces.push(value);
  }
  return pieces.length === 1 ? pieces[0]! : joined(pieces, length);
}

/** Pieces of `length` bytes in all, one behind the other. */
export function joined(pieces: readonly Uint8Array[], length: number): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

function brokenOff(): never {
  throw new Problem(400, "The body ended too early. Send it whole.");
}
