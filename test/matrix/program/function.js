/** A function behind HTTP, as Workers and edge functions are written: trains with the options that are posted to it. */
import { curvature } from "./curvature.mjs";
import { fingerprint } from "./fingerprint.mjs";

export default {
  async fetch(request) {
    const result = await fingerprint(await request.json());
    return Response.json({ ...result, curvature: await curvature() });
  },
};
