/** Pages may share memory; everything else is Vite's default. */
export default {
  server: {
    headers: { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" },
  },
};
