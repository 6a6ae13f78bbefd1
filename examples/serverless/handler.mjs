// Both functions, with the token from the environment. The other files in this folder run them on each platform.
import { functions } from "./functions.mjs";
import { token } from "./token.mjs";

export default functions(token);
