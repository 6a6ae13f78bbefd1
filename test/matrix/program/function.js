/** An HTTP function in the format of Workers and edge functions. Trains with the options in the body of the request. */
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
