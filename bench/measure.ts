/**
 * The measurement method: the contenders of a case alternate over several rounds, each round gives a median, and the report is the
 * median over the rounds. Noise that lasts longer than a round then affects all contenders equally.
 */
import { Bench } from "tinybench";

/** One way to do what a case asks for. */
export interface Contender {
  readonly impl: string;
  /** One call, synchronous. */
  readonly run: () => void;
  /** Brings back the state that `run` changes; called before each round. */
  readonly reset?: () => void;
  /** Floating-point operations of one call, if not the case's. */
  readonly flops?: number;
}

/** Something to be done, and who does it. */
export interface Case {
  readonly name: string;
  readonly contenders: readonly Contender[];
  /** Floating-point operations of one call: results are then rates, else times. */
  readonly flops?: number;
  /** A line to print below the results. */
  readonly note?: string;
  /** The contender that ratios refer to. Default: pure JS. */
  readonly base?: string;
}

/** Cases are made one at a time, when their turn comes, so that memory holds one case's data. */
export interface Suite {
  readonly name: string;
  cases(): Iterable<Case> | AsyncIterable<Case>;
}

/** Pure JavaScript, written with care: what ratios refer to. */
export const PURE = "pure JS";
/** The most that multiply-adds can reach here: what shares refer to. */
export const CEILING = "FMA ceiling";

/** What `--json` prints, one for each contender of each case. */
export interface Row {
  readonly suite: string;
  readonly case: string;
  readonly impl: string;
  readonly unit: "µs" | "GFLOP/s";
  /** Median over rounds of the round's median time per call, in the unit. */
  readonly median: number;
  /** The least time per call, in the unit: as a rate, this is the highest number. */
  readonly min: number;
  /** How many times were taken. */
  readonly samples: number;
}

/** A row with what the table adds. */
export interface Result extends Row {
  /** How many times as fast as the case's base: the median over rounds of that round's ratio. */
  readonly ratio: number | undefined;
  /** Its rate by the ceiling's, likewise. */
  readonly share: number | undefined;
}

export interface Effort {
  readonly rounds: number;
  /** Milliseconds per contender and round. */
  readonly time: number;
  /** Milliseconds per contender before the first round: by default long enough for V8's optimizing tier. */
  readonly warmUp: number;
  /** Milliseconds from anywhere. */
  readonly now: () => number;
}

export const wallClock = (): number => performance.now();
/** The time this process was running: what to count where others use the machine too. */
export function cpuClock(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e3;
}

/** The least number of calls to warm up. WASM functions tier up one by one, by calls and time spent. */
const WARM_UP_CALLS = 3;
/** A sample is at least this long, in milliseconds: well above the timer's resolution, well below a scheduler's slice. */
const SAMPLE = 0.2;

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Runs until warm; returns how many calls make up a sample. */
function warmUp({ run, reset }: Contender, { now, warmUp: length }: Effort): number {
  reset?.();
  const begin = now();
  let calls = 0;
  let least = Infinity;
  for (let before = begin; before - begin < length || calls < WARM_UP_CALLS; calls++) {
    run();
    const after = now();
    // A clock that stands still during a call is too coarse for it.
    if (after > before) least = Math.min(least, after - before);
    before = after;
  }
  return Math.max(1, Math.ceil(SAMPLE / least));
}

/** Milliseconds per call of one contender: by round, and the least of all. */
interface Times {
  readonly rounds: number[];
  least: number;
  samples: number;
}

/** Measures a case. @throws Error if a contender does */
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
  /** The median over rounds of contender i's speed by contender j's. */
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
      ratio: i === ceiling ? undefined : versus(i, pure),
      share: i === ceiling || ceiling < 0 ? undefined : versus(i, ceiling, rateOf(i) / rateOf(ceiling)),
    };
  });
}
