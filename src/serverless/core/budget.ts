/** A budget of bytes that many requests share, for bodies that are still arriving. When it is spent, the oldest holder loses its share. */

/** One request's share of a budget. */
export class Share {
  bytes = 0;
  constructor(
    private readonly budget: Budget,
    /** Called once if the share is taken away. */
    readonly evict: () => void,
  ) {}
  /** Sets how many bytes the request holds. May evict this share or an older one. */
  hold(bytes: number): void {
    this.budget.resize(this, bytes);
  }
  /** Gives the bytes back. Calling it again has no effect. */
  end(): void {
    this.budget.remove(this);
  }
}

export class Budget {
  /** The oldest first. */
  readonly #shares = new Set<Share>();
  readonly #most: number;
  #held = 0;

  constructor(bytes: number) {
    this.#most = bytes;
  }

  /** @param evict what ends the request if others need its bytes */
  share(evict: () => void): Share {
    const share = new Share(this, evict);
    this.#shares.add(share);
    return share;
  }

  resize(share: Share, bytes: number): void {
    if (!this.#shares.has(share)) return;
    this.#held += bytes - share.bytes;
    share.bytes = bytes;
    // Honest bodies arrive in a moment. The ones that have been arriving for longest are the ones to lose.
    for (const oldest of this.#shares) {
      if (this.#held <= this.#most) return;
      this.remove(oldest);
      oldest.evict();
    }
  }

  remove(share: Share): void {
    if (this.#shares.delete(share)) this.#held -= share.bytes;
  }
}
