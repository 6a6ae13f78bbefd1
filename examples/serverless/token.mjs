// The token that clients must have to train: $TRAIN_TOKEN, or the text of the file that $TRAIN_TOKEN_FILE names. There is no default.
const { process } = globalThis;
const file = process?.env?.TRAIN_TOKEN_FILE;

export const token = file
  ? process.getBuiltinModule("node:fs").readFileSync(file, "utf8").trim()
  : process?.env?.TRAIN_TOKEN;
if (!token) throw new Error("TRAIN_TOKEN is not set. Set it, or TRAIN_TOKEN_FILE: clients with the token may train.");
