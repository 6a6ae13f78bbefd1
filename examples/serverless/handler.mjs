// The handler of functions.mjs, with the token from the environment. The files for Node, Deno, Bun and Lambda serve it.
import { functions } from "./functions.mjs";
import { token } from "./token.mjs";

export default functions(token);
