/** Makes something once, at first need, for all who wait for it. */

/** Milliseconds between a load that failed and the next. */
const REST = 1000;
/** Milliseconds after which a load is taken for dead: Workers stop it with the request that began it. Twice as many each time. */
const PATIENCE = 60_000;

/** What is made once, at first need; tried again where that failed. */
export class Once<T> {
  value: T | undefined;
  #coming: Promise<T> | undefined;
  /** When, at the earliest, it is made again. */
  #next = 0;
  #patience = PATIENCE;
  readonly #make: () => Promise<T>;
  readonly #drop: (made: T) => void;
  /** `drop` frees what is made though there is another by then. */
  constructor(make: () => Promise<T>, drop: (made: T) => void) {
    this.#make = make;
    this.#drop = drop;
  }

  get(): Promise<T> {
    if (!this.#coming || Date.now() >= this.#next) this.#coming = this.#begin();
    return this.#coming;
  }
  #begin(): Promise<T> {
    this.#next = Date.now() + this.#patience;
    this.#patience *= 2;
    const coming = this.#make().then(
      (made) => {
        // One that was taken for dead may come after all.
        if (this.value !== undefined && this.value !== made) this.#drop(made);
        this.value ??= made;
        return this.value;
      },
      (error) => {
        // Who asks before the next try is told of this one.
        if (this.#coming === coming) this.#next = Date.now() + REST;
        this.#patience = PATIENCE;
        throw error;
      },
    );
    return coming;
  }
}
