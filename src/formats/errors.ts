/** A file that is not what it should be: malformed, hostile, or of another kind. Nothing was changed, nothing is held. */
export class FormatError extends Error {
  override name = "FormatError";
}
