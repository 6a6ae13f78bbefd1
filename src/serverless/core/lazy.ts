/** A value that is loaded when it is first needed, once for all who wait, and again if loading failed. */

/** Milliseconds between a failed load and the next one. */
const RETRY_AFTER = 1000;
/**
 * Milliseconds after which a pending load counts as dead, twice as many after each: Workers stop a load together with the request that
 * started it.
 */
const DEAD_AFTER = 60_000;

export class Lazy<T> {
  /** The value; undefined until it has loaded. */
  value: T | undefined;
  #loading: Promise<T> | undefined;
  /** The earliest time of the next load. */
  #next = 0;
  #deadAfter = DEAD_AFTER;
  readonly #load: () => Promise<T>;
  readonly #discard: (value: T) => void;

  /** @param discard frees a value that finishes loading after another one has */
  constructor(load: () => Promise<T>, discard: (value: T) => void) {
    this.#load = load;
    this.#discard = discard;
  }

  /** Loads the value, or waits for the load that is running. Rejects with the error of the last load until the next one. */
  get(): Promise<T> {
    if (!this.#loading || Date.now() >= this.#next) this.#loading = this.#start();
    return this.#loading;
  }
  #start(): Promise<T> {
    this.#next = Date.now() + this.#deadAfter;
    this.#deadAfter *= 2;
    const loading = this.#load().then(
      (value) => {
        // A load that counted as dead may still finish.
        if (this.value !== undefined && this.value !== value) this.#discard(value);
        this.value ??= value;
        return this.value;
      },
      (error) => {
        if (this.#loading === loading) this.#next = Date.now() + RETRY_AFTER;
        this.#deadAfter = DEAD_AFTER;
        throw error;
      },
    );
    return loading;
  }
}
