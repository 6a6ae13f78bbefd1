/**
 * Servers preload this file. On SIGUSR2, it collects garbage, then prints to stderr how many bytes the server holds, and how much CPU
 * time it has used outside these collections.
 */
const microseconds = () => {
  const { user, system } = process.cpuUsage();
  return user + system;
};
/** The CPU time spent in these collections, which does not count as the cost of requests. */
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
