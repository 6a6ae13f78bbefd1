/** A budget of bytes that many requests share while their bodies arrive. If it runs out, the oldest request loses its share. */

/** One request's share of a budget. */
export class Share {
  bytes = 0;
  constructor(
    private readonly budget: Budget,
    /** Called once, if the share is evicted. */
    readonly evict: () => void,
  ) {}
  /** Sets the number of bytes that the request holds. May evict older shares, or this one. */
  hold(bytes: number): void {
    this.budget.resize(this, bytes);
  }
  /** Returns the bytes to the budget. Further calls have no effect. */
  release(): void {
    this.budget.remove(this);
  }
}

export class Budget {
  /** Oldest first. */
  readonly #shares = new Set<Share>();
  readonly #limit: number;
  #held = 0;

  constructor(bytes: number) {
    this.#limit = bytes;
  }

  /** @param evict ends the request if other requests need its bytes */
  share(evict: () => void): Share {
    const share = new Share(this, evict);
    this.#shares.add(share);
    return share;
  }

  resize(share: Share, bytes: number): void {
    if (!this.#shares.has(share)) return;
    this.#held += bytes - share.bytes;
    share.bytes = bytes;
    // Honest clients send quickly, so evict the bodies that have been arriving the longest.
    for (const oldest of this.#shares) {
      if (this.#held <= this.#limit) return;
      this.remove(oldest);
      oldest.evict();
    }
  }

  remove(share: Share): void {
    if (this.#shares.delete(share)) this.#held -= share.bytes;
  }
}
