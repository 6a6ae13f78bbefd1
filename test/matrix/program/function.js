/** A function behind HTTP, as Workers and edge functions are written: trains with the options that are posted to it. */
import { fingerprint } from "./fingerprint.mjs";

export default {
  async fetch(request) {
    return Response.json(await fingerprint(await request.json()));
  },
};
