/** Loads states in two phases: checks all parts before it changes any of them. */

/** An object that can load a state. nabla's own classes can check the state first. */
export interface Loadable<S> {
  /** Loads a state. */
  loadStateDict(state: S): unknown;
  /** Checks a saved state. @returns a function that loads the state and cannot fail @internal */
  checkState?(state: S): () => void;
}

/** Checks a saved state now if the object has checkState. @returns a function that loads the state */
export function checkLoad<S>(part: Loadable<S> | undefined, state: S): () => void {
  if (!part) return () => {};
  // A class that overrides only loadStateDict cannot be checked in advance: its checks are in loadStateDict.
  const isOwn = ownerOf(part, "checkState") === ownerOf(part, "loadStateDict");
  return isOwn && part.checkState ? part.checkState(state) : () => void part.loadStateDict(state);
}

/** The object on the prototype chain that defines a method. */
function ownerOf(part: object, method: string): object | null {
  let owner: object | null = part;
  while (owner && !Object.hasOwn(owner, method)) owner = Object.getPrototypeOf(owner) as object | null;
  return owner;
}
