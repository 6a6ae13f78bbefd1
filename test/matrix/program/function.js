/** A function behind HTTP, as Workers and edge functions are written: trains with the options that are posted to it. */
import { curvature } from "./curvature.mjs";
import { fingerprint } from "./fingerprint.mjs";
import { resume } from "./resume.mjs";

export default {
  async fetch(request) {
    const options = await request.json();
    const result = await fingerprint(options);
    return Response.json({ ...result, curvature: await curvature(), resumed: await resume(options) });
  },
};
