/** Pages that share memory; the rest is as Vite has it. */
export default {
  server: {
    headers: { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" },
  },
};
