/**
 * Lets several threads run one program together. The program is divided into numbered shares: the head of an
 * instruction that is worth splitting contains its number of shares, and consecutive instructions that are not split
 * form one share. A free thread takes the next share, and runs it once all earlier instructions are done. A thread that
 * took no share is never waited for, so a thread that wakes late, or never, does not delay the others. The result does
 * not depend on which thread takes which share.
 *
 * Threads share a control block in memory (opcodes.ts: Control); the module itself holds no state.
 */
import { run, step } from "./engine";
import { Control, Head } from "./opcodes";

/** Called when a wait takes a long time. Throws if the awaited threads are dead. */
@external("env", "stalled")
declare function stalled(): void;

/** The length of one sleep in nanoseconds. A sleeping thread checks again at this interval in case a wake-up was lost. */
const NAP: i64 = 100_000_000;
const BLINK: i64 = 1_000_000;
/** The result of a wait that timed out. */
const TIMED_OUT: i32 = 2;
/** The number of polls before a thread that must not sleep calls `stalled`. */
const ROUNDS: u32 = 1 << 24;

@inline
function head(at: usize, index: usize): u32 { return load<u32>(at + (index << 2)); }

@inline
function sharesAt(at: usize): u32 { return head(at, Head.code) >> Head.shares; }

/** Waits until `target` shares are done. Returns false if the pool stops first. */
function reached(control: usize, target: u32, sleeps: bool): bool {
  const rounds = sleeps ? load<u32>(control, Control.spins) : ROUNDS;
  while (true) {
    for (let i: u32 = 0; i <= rounds; i++) if (atomic.load<u32>(control, Control.done) >= target) return true;
    let late = true;
    if (sleeps) {
      atomic.add<u32>(control, 1, Control.waiting);
      const done = atomic.load<u32>(control, Control.done);
      late = done < target && atomic.wait<u32>(control + Control.done, done, NAP) == TIMED_OUT;
      atomic.sub<u32>(control, 1, Control.waiting);
    }
    if (atomic.load<u32>(control, Control.stop)) return false;
    if (late) stalled();
  }
}

/**
 * Runs shares of the `count` instructions at `program` until none are left. Returns the number of shares in the whole
 * program, or 0 if the pool stops.
 */
function share(program: usize, count: u32, control: usize, sleeps: bool): u32 {
  let at = program, first: u32 = 0;
  let taken = atomic.add<u32>(control, 1, Control.taken);
  for (let i: u32 = 0; i < count;) {
    const shares = sharesAt(at);
    // Consecutive instructions that are not split form one share.
    let next = at, together: u32 = 0;
    do {
      next += <usize>head(next, Head.length) << 2;
      together++;
    } while (!shares && i + together < count && !sharesAt(next));
    const end = first + (shares ? shares : 1);
    if (taken < end) {
      if (!reached(control, first, sleeps)) return 0;
      do {
        // After a stop, do not write to the job's memory: it may soon have another owner.
        if (atomic.load<u32>(control, Control.stop)) return 0;
        if (shares) step(at, taken - first, shares);
        else run(at, together, 0, 1);
        const done = atomic.add<u32>(control, 1, Control.done) + 1;
        if (done == end && atomic.load<u32>(control, Control.waiting)) atomic.notify(control + Control.done, -1);
        taken = atomic.add<u32>(control, 1, Control.taken);
      } while (taken < end);
    }
    first = end;
    at = next;
    i += together;
  }
  return first;
}

/**
 * Runs the `count` instructions at `program` together with the threads that serve this control block; returns when all
 * are done. `sleeps`: whether this thread may sleep while it waits. A page's main thread may not sleep.
 */
export function lead(program: usize, count: u32, control: usize, sleeps: bool): void {
  store<u32>(control, program, Control.program);
  store<u32>(control, count, Control.count);
  atomic.store<u32>(control, 0, Control.taken);
  atomic.store<u32>(control, 0, Control.done);
  atomic.store<u32>(control, 1, Control.open);
  atomic.add<u32>(control, 1, Control.epoch);
  if (atomic.load<u32>(control, Control.asleep)) atomic.notify(control + Control.epoch, -1);
  reached(control, share(program, count, control, sleeps), sleeps);
  atomic.store<u32>(control, 0, Control.open);
  // Wait until no thread is still inside this program, because the next program may overwrite it. A thread that is still inside
  // finds no share left and leaves soon, so it does not wake this thread.
  const rounds = sleeps ? load<u32>(control, Control.spins) : ROUNDS;
  for (let i: u32 = 0;; i++) {
    const inside = atomic.load<u32>(control, Control.inside);
    if (!inside) return;
    if (i < rounds) continue;
    i = 0;
    if (sleeps) atomic.wait<u32>(control + Control.inside, inside, BLINK);
    stalled();
  }
}

/**
 * The main loop of a worker: runs jobs, sleeps between them, and returns when the pool stops. `mark` is the address of a word
 * that is 1 during a job, so that other threads can detect a worker that died during a job.
 */
export function serve(control: usize, mark: usize): void {
  let seen: u32 = 0;
  while (!atomic.load<u32>(control, Control.stop)) {
    const idle = load<u32>(control, Control.idle);
    let epoch = seen;
    for (let i: u32 = 0; i < idle && epoch == seen; i++) epoch = atomic.load<u32>(control, Control.epoch);
    if (epoch == seen) {
      atomic.add<u32>(control, 1, Control.asleep);
      atomic.wait<u32>(control + Control.epoch, seen, NAP * 10);
      atomic.sub<u32>(control, 1, Control.asleep);
      continue;
    }
    seen = epoch;
    // While a worker is inside, `lead` does not write the next job. A worker that enters too late finds the job closed.
    atomic.store<u32>(mark, 1);
    atomic.add<u32>(control, 1, Control.inside);
    if (atomic.load<u32>(control, Control.open)) {
      share(load<u32>(control, Control.program), load<u32>(control, Control.count), control, true);
    }
    atomic.sub<u32>(control, 1, Control.inside);
    atomic.store<u32>(mark, 0);
  }
}
