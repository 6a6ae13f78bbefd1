// The functions with the token of the environment. The files beside this one bring them to each platform.
import { functions } from "./functions.mjs";
import { token } from "./token.mjs";

export default functions(token);
