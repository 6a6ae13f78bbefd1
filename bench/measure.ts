/**
 * The measurement method: the contenders of a case alternate over several rounds, each round gives a median, and the reported result is
 * the median of these medians. Noise that lasts longer than a round therefore affects all contenders equally.
 */
import { Bench } from "tinybench";

/** One implementation of a case. */
export interface Contender {
  readonly impl: string;
  /** Makes one synchronous call. */
  readonly run: () => void;
  /** Restores the state that `run` changes; called before each round. */
  readonly reset?: () => void;
  /** The number of floating-point operations in one call, if it differs from the case's. */
  readonly flops?: number;
}

/** A task, and the contenders that perform it. */
export interface Case {
  readonly name: string;
  readonly contenders: readonly Contender[];
  /** The number of floating-point operations in one call. If given, results are rates; otherwise, they are times. */
  readonly flops?: number;
  /** A line to print below the results. */
  readonly note?: string;
  /** The contender to which ratios are relative. Default: pure JS. */
  readonly base?: string;
}

/** A suite creates its cases one at a time, so that memory holds the data of only one case. */
export interface Suite {
  readonly name: string;
  cases(): Iterable<Case> | AsyncIterable<Case>;
}

/** The contender in carefully written pure JavaScript, to which ratios are relative by default. */
export const PURE = "pure JS";
/** The contender that measures the machine's highest rate of multiply-adds. The table gives the other rates as fractions of it. */
export const CEILING = "FMA ceiling";

/** A row that `--json` prints. There is one for each contender of each case. */
export interface Row {
  readonly suite: string;
  readonly case: string;
  readonly impl: string;
  readonly unit: "µs" | "GFLOP/s";
  /** The median of the rounds' median times per call. If the unit is a rate, this is the rate at that time. */
  readonly median: number;
  /** The shortest time per call, in the row's unit. If the unit is a rate, this is the highest rate. */
  readonly min: number;
  /** The number of measured samples. */
  readonly samples: number;
}

/** A row with the additional columns of the table. */
export interface Result extends Row {
  /** The median time of a call in milliseconds. */
  readonly time: number;
  /** The speed relative to that of the case's base: the median of the rounds' ratios. */
  readonly ratio: number | undefined;
  /** The rate relative to the ceiling's: the median of the rounds' ratios. */
  readonly share: number | undefined;
}

export interface Effort {
  readonly rounds: number;
  /** The time per contender and round in milliseconds. */
  readonly time: number;
  /**
   * The warm-up time per contender in milliseconds, before the first round: by default long enough for V8's optimizing
   * tier.
   */
  readonly warmUp: number;
  /** A clock in milliseconds, from an arbitrary origin. */
  readonly now: () => number;
}

export const wallClock = (): number => performance.now();
/** The CPU time of this process in milliseconds, for a machine that other programs use too. */
export function cpuClock(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e3;
}

/**
 * The minimum number of warm-up calls. V8 optimizes WASM functions one by one, depending on how often each is called and how long it
 * runs.
 */
const WARM_UP_CALLS = 3;
/** The minimum length of a sample in milliseconds: well above the timer's resolution, and well below the scheduler's time slice. */
const SAMPLE = 0.2;

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Warms a contender up. @returns the number of calls in a sample */
function warmUp({ run, reset }: Contender, { now, warmUp: length }: Effort): number {
  reset?.();
  const begin = now();
  let calls = 0;
  let least = Infinity;
  for (let before = begin; before - begin < length || calls < WARM_UP_CALLS; calls++) {
    run();
    const after = now();
    // Ignore the call if the clock did not advance: the clock is then too coarse to measure one call.
    if (after > before) least = Math.min(least, after - before);
    before = after;
  }
  return Math.max(1, Math.ceil(SAMPLE / least));
}

/** One contender's times per call, in milliseconds: the median of each round, and the shortest time of all rounds. */
interface Times {
  readonly rounds: number[];
  least: number;
  samples: number;
}

/** Measures a case. @throws Error if a contender throws */
export function measure(suite: string, { name, contenders, flops, base = PURE }: Case, effort: Effort): Result[] {
  const { rounds, time, now } = effort;
  const bench = new Bench({ time, iterations: 1, warmup: false, throws: true, now });
  const repeats = contenders.map((contender) => warmUp(contender, effort));
  contenders.forEach(({ impl, run, reset }, i) => {
    const repeat = repeats[i]!;
    const repeated = () => {
      for (let call = 0; call < repeat; call++) run();
    };
    bench.add(impl, repeated, reset ? { beforeAll: reset } : {});
  });
  const times = contenders.map((): Times => ({ rounds: [], least: Infinity, samples: 0 }));
  for (let round = 0; round < rounds; round++) {
    bench.tasks.forEach((task, i) => {
      const { result } = task.runSync();
      if (result.state !== "completed") throw new Error(`${suite} ${name}: ${task.name} ended as ${result.state}.`);
      const { p50, min, samplesCount } = result.latency;
      const own = times[i]!;
      own.rounds.push(p50 / repeats[i]!);
      own.least = Math.min(own.least, min / repeats[i]!);
      own.samples += samplesCount;
    });
  }

  const rateOf = (i: number): number => contenders[i]!.flops ?? flops ?? 0;
  /** Contender i's speed divided by contender j's: the median of the rounds' ratios. */
  const versus = (i: number, j: number, scale = 1): number | undefined =>
    j < 0 ? undefined : scale * median(times[i]!.rounds.map((t, round) => times[j]!.rounds[round]! / t));
  const pure = contenders.findIndex(({ impl }) => impl === base);
  const ceiling = contenders.findIndex(({ impl }) => impl === CEILING);
  return contenders.map(({ impl }, i) => {
    const { rounds: own, least, samples } = times[i]!;
    const inUnit = (milliseconds: number): number => (flops ? rateOf(i) / milliseconds / 1e6 : milliseconds * 1e3);
    return {
      suite,
      case: name,
      impl,
      unit: flops ? "GFLOP/s" : "µs",
      median: inUnit(median(own)),
      min: inUnit(least),
      samples,
      time: median(own),
      ratio: i === ceiling ? undefined : versus(i, pure),
      share: i === ceiling || ceiling < 0 ? undefined : versus(i, ceiling, rateOf(i) / rateOf(ceiling)),
    };
  });
}
