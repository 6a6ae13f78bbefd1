/** What a request may cost: time, and how many there may be at once. */
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

  /** @throws Problem 503 if all are taken */
  requireFree(): void {
    const now = Date.now();
    for (const place of this.#taken) if (now > place.until) place.leave();
    if (this.#taken.size >= this.#count)
      throw unavailable(`${this.#count} requests are under way, which is all that are taken at once. Try again.`);
  }

  /** @throws Problem 503 if all are taken */
  take(): Place {
    this.requireFree();
    const now = Date.now();
    // Loading and working may each take their time.
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

/**
 * Settles as `work` does, unless that takes longer.
 * @param hear is given a function that ends the wait with an error
 * @throws what `late` returns; Problem if `signal` says that the client left
 */
export async function within<T>(
  work: Promise<T>,
  milliseconds: number,
  late: () => Problem,
  signal?: AbortSignal,
  hear?: (reject: (error: Problem) => void) => void,
): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let leave = (): void => {};
  const end = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(late()), milliseconds);
    hear?.(reject);
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
