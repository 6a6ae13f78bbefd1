// The token that clients need to train: $TRAIN_TOKEN, or the contents of the file $TRAIN_TOKEN_FILE. There is no default.
const { process } = globalThis;
const file = process?.env?.TRAIN_TOKEN_FILE;

export const token = file
  ? process.getBuiltinModule("node:fs").readFileSync(file, "utf8").trim()
  : process?.env?.TRAIN_TOKEN;
if (!token)
  throw new Error("TRAIN_TOKEN is not set. Set it to the token that clients need to train, or set TRAIN_TOKEN_FILE.");
