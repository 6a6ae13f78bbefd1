/** How often a randomized test runs: `n` times, or 20 times as often under `npm run test:deep`, which sets NABLA_DEEP. */
export const runs = (n: number): number => n * Number(process.env.NABLA_DEEP ?? 1);
