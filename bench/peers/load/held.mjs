/**
 * Servers preload this file. On SIGUSR2, the server collects garbage, then prints to stderr how many bytes it holds, and how much CPU time
 * it has used, excluding the time for these collections.
 */
const microseconds = () => {
  const { user, system } = process.cpuUsage();
  return user + system;
};
/** The CPU time of the collections that SIGUSR2 started, in microseconds. It is not part of the cost of requests. */
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
