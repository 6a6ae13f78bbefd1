/**
 * A value that is loaded on first use. Callers that arrive during a load share that load. If it fails, a later call
 * loads again.
 */

/** The time between a failed load and the next attempt, in milliseconds. */
const RETRY_AFTER = 1000;
/**
 * The time in milliseconds after which a pending load is abandoned, so that the next call loads again: Workers stop a
 * load when the request that started it ends. The time doubles with each attempt.
 */
const GIVE_UP_AFTER = 60_000;

export class Lazy<T> {
  /** The value; undefined until it has loaded. */
  value: T | undefined;
  #loading: Promise<T> | undefined;
  /** The earliest time of the next load. */
  #next = 0;
  #giveUpAfter = GIVE_UP_AFTER;
  readonly #load: () => Promise<T>;
  readonly #discard: (value: T) => void;

  /** @param discard frees a value if another load finished first */
  constructor(load: () => Promise<T>, discard: (value: T) => void) {
    this.#load = load;
    this.#discard = discard;
  }

  /** Loads the value, or waits for the load in progress. If the last load failed, rejects with its error until the next attempt is due. */
  get(): Promise<T> {
    if (!this.#loading || Date.now() >= this.#next) this.#loading = this.#start();
    return this.#loading;
  }
  #start(): Promise<T> {
    this.#next = Date.now() + this.#giveUpAfter;
    this.#giveUpAfter *= 2;
    const loading = this.#load().then(
      (value) => {
        // An abandoned load may still finish.
        if (this.value !== undefined && this.value !== value) this.#discard(value);
        this.value ??= value;
        return this.value;
      },
      (error) => {
        if (this.#loading === loading) this.#next = Date.now() + RETRY_AFTER;
        this.#giveUpAfter = GIVE_UP_AFTER;
        throw error;
      },
    );
    return loading;
  }
}
