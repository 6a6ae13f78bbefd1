/** Lets contenders take turns at a case, and checks that their results agree. */
import { median } from "../../dist/bench/measure.js";
import { figure, table } from "../../dist/bench/report.js";
import { requireEpoch, requireLosses } from "../../dist/bench/training.js";
import { difference, requireClose } from "../../dist/bench/values.js";
import { decode } from "./base64.mjs";
import { requireResults } from "./models.mjs";

/** The largest error of a model with int8 weights: ‖y − ŷ‖ / ‖y‖. */
const INT8_ERROR = 0.05;

/**
 * Checks a contender's results against those of the first contender. Returns the error of a model with int8 weights.
 * @throws Error if the results differ
 */
function check(peer, { name, epoch, tfjs, model }, { result, losses }, reference) {
  const what = `${name}, ${peer.name}`;
  if (model) {
    // TensorFlow.js's models have their own weights. The suite "tfjs" checks them.
    const valuesOf = (reply) => reply.losses ?? decode(reply.result);
    if (peer.name.endsWith("int8")) {
      const error = difference(valuesOf({ result, losses }), valuesOf(reference));
      if (!(error <= INT8_ERROR)) throw new Error(`${what}: the results differ by ${error} from those in float32.`);
      return `error ${(100 * error).toFixed(2)} %`;
    }
    if (!peer.name.startsWith("tfjs")) requireResults(what, valuesOf({ result, losses }), valuesOf(reference));
    return undefined;
  }
  if (epoch) requireEpoch(what, losses[0], reference.losses[0]);
  else if (tfjs && losses) requireClose(what, losses, reference.losses, 1e-3);
  else if (losses) requireLosses(what, losses, reference.losses);
  else requireClose(what, decode(result), decode(reference.result), 1e-4);
  return undefined;
}

/** Opens a case in each contender, and measures them in turns. The first contender's results are the reference. */
async function runCase(peers, suite, one, { rounds, round, networkRound }) {
  const entries = peers.map((peer) => ({
    peer,
    error: peer.error ?? peer.ended,
    rounds: [],
    least: Infinity,
    samples: 0,
  }));
  let reference;
  for (const entry of entries) {
    if (entry.error) continue;
    const reply = await entry.peer.ask({ open: suite, ...one.task() });
    entry.error = reply.error;
    if (reply.error) continue;
    reference ??= reply;
    entry.loss = reply.losses?.at(-1).toPrecision(6);
    try {
      entry.difference = check(entry.peer, one, reply, reference);
    } catch (error) {
      entry.error = error.message;
    }
  }
  for (let turn = 0; turn < rounds; turn++) {
    for (const entry of entries) {
      if (entry.error) continue;
      const reply = await entry.peer.ask({ round: one.network ? networkRound : round });
      entry.error = reply.error;
      entry.rounds.push(reply.median);
      entry.least = Math.min(entry.least, reply.least);
      entry.samples += reply.samples;
    }
  }
  for (const { peer } of entries) if (!peer.ended && !peer.error) await peer.ask({ close: true });
  return entries;
}

/** The lines of a case in the table, and its rows. */
function report(suite, one, entries, bases) {
  const base = bases.flatMap((name) =>
    entries.filter(({ peer, error }) => !error && peer.name.startsWith(name)).slice(0, 1),
  )[0];
  const inUnit = (t) => (one.flops ? one.flops / t / 1e6 : one.epoch ? t / 1e3 : t * 1e3);
  const unit = one.flops ? "GFLOP/s" : one.epoch ? "s" : "µs";
  return entries.map(({ peer, error, rounds, least, samples, loss, difference }, i) => {
    const name = i ? "" : one.name;
    if (error)
      return { cells: [name, peer.name, "—", "—", "", "", "!! MISSING"], missing: `!! MISSING ${peer.name}: ${error}` };
    const ratio = base ? figure(median(rounds.map((t, r) => base.rounds[r] / t))) : "";
    return {
      cells: [
        name,
        peer.name,
        figure(inUnit(median(rounds))),
        figure(inUnit(least)),
        unit,
        ratio,
        difference ?? loss ?? "",
      ],
      row: {
        suite,
        case: one.name,
        impl: peer.name,
        unit,
        median: inUnit(median(rounds)),
        min: inUnit(least),
        samples,
      },
    };
  });
}

/** How long the contenders run: the number of turns, and the length of a turn in milliseconds. */
const EFFORT = { rounds: 9, round: 60, networkRound: 500 };

/**
 * Runs a suite's cases, and prints a table.
 * @param contenders returns the contenders that run a case
 * @param bases the contender to which ratios are relative, then those that replace it if it cannot run a case
 * @param title the head of the table
 * @param loss the head of the column with losses
 * @returns the rows, and a line for each contender that could not run a case
 */
export async function runSuite(suite, cases, { contenders, bases, title = suite, loss = "", effort = EFFORT, print }) {
  const lines = [["case", "impl", "median", "min*", "unit", `× ${bases[0]}`, loss]];
  const rows = [];
  const missing = new Set();
  for (const one of cases) {
    const entries = await runCase(contenders(one), suite, one, effort);
    for (const { cells, row, missing: reason } of report(suite, one, entries, bases)) {
      lines.push(cells);
      if (row) rows.push(row);
      if (reason) missing.add(reason);
    }
  }
  print(`\n${title}: medians over ${effort.rounds} rounds\n${[table(lines), ...missing].join("\n")}`);
  return { rows, missing: [...missing] };
}
