/** The number of runs of a randomized test: `n`, or 20 times as many in `npm run test:deep`, which sets NABLA_DEEP. */
export const runs = (n: number): number => n * Number(process.env.NABLA_DEEP ?? 1);
