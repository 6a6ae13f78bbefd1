/** Preloaded into servers: at SIGUSR2 they collect garbage, and tell on stderr how many bytes they hold and how much CPU time they used. */
const microseconds = () => {
  const { user, system } = process.cpuUsage();
  return user + system;
};
/** CPU time of the collections, which no request asked for. */
let collecting = 0;
process.on("SIGUSR2", () => {
  const began = microseconds();
  const used = began - collecting;
  gc();
  gc();
  const { heapUsed, external } = process.memoryUsage();
  collecting += microseconds() - began;
  process.stderr.write(`held ${heapUsed + external} used ${used}\n`);
});
