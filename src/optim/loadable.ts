/** What can take over a state. nabla's own can check one whole beforehand. */
export interface Loadable<S> {
  loadStateDict(state: S): unknown;
  /** Checks a state. @returns what takes it over, and cannot fail @internal */
  checkState?(state: S): () => void;
}

/** Checks a state, where that can be. @returns what takes it over */
export function checked<S>(part: Loadable<S> | undefined, state: S): () => void {
  if (!part) return () => {};
  // Who has a loadStateDict of its own checks there.
  const isOwn = ownerOf(part, "checkState") === ownerOf(part, "loadStateDict");
  return isOwn && part.checkState ? part.checkState(state) : () => void part.loadStateDict(state);
}

/** The object on a part's chain of prototypes that a method is of. */
function ownerOf(part: object, method: string): object | null {
  let owner: object | null = part;
  while (owner && !Object.hasOwn(owner, method)) owner = Object.getPrototypeOf(owner) as object | null;
  return owner;
}
