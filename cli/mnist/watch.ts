/** Shows the progress of training: a progress bar in a terminal, and a line per quarter of an epoch elsewhere. */
import cliProgress from "cli-progress";
import { epochHeader, epochLine, percent, rate } from "./report.ts";
import type { Style } from "./style.ts";
import type { EpochResult, Progress } from "./train.ts";

export interface Watch {
  onProgress(progress: Progress): void;
  onEpoch(result: EpochResult): void;
  /** Removes the bar. Further calls have no effect. */
  stop(): void;
}

/** Writes progress to a stream. */
export function watch(stream: NodeJS.WriteStream, style: Style): Watch {
  const print = (line: string): void => void stream.write(`${line}\n`);
  const shown = stream.isTTY && process.env.TERM !== "dumb" ? bar(stream) : lines(print);
  let before = 0;
  let started = false;
  const header = (): void => {
    if (!started) print(epochHeader(style));
    started = true;
  };
  return {
    onProgress(progress) {
      header();
      shown.onProgress(progress);
    },
    onEpoch(result) {
      header();
      shown.stop();
      print(epochLine(result, before));
      before = result.seconds;
    },
    stop: () => shown.stop(),
  };
}

/** The loss, the accuracy, the images per second and the time left, as text. */
function state({ loss, accuracy, images, allImages, seconds }: Progress): string {
  const left = Math.ceil(((allImages - images) * seconds) / images);
  const time = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
  return `loss ${loss.toFixed(4)}  accuracy ${percent(accuracy)}  ${rate(images, seconds)} images/s  ${time} left`;
}

type Shown = Pick<Watch, "onProgress" | "stop">;

function lines(print: (line: string) => void): Shown {
  let quarters = 0;
  return {
    onProgress(progress) {
      const { epoch, epochs, seen, count } = progress;
      const done = Math.floor((4 * seen) / count);
      // Print no line for the fourth quarter, because the end of an epoch has its own line.
      if (done > quarters && done < 4)
        print(
          `${`${epoch}/${epochs}`.padStart(5)}   ${`${Math.floor((100 * seen) / count)}%`.padStart(4)}  ${state(progress)}`,
        );
      quarters = done % 4;
    },
    stop() {},
  };
}

/** A bar of `width` characters, filled in steps of an eighth of a character. */
function barOf(fraction: number, width: number): string {
  const eighths = Math.round(fraction * width * 8);
  return ("█".repeat(eighths >> 3) + " ▏▎▍▌▋▊▉"[eighths & 7]!.trim()).padEnd(width, "░");
}

function bar(stream: NodeJS.WriteStream): Shown {
  let latest: Progress | undefined;
  const line = (_: unknown, { maxWidth }: { maxWidth: number }): string => {
    if (!latest) return "";
    const [before, after] = [`${latest.epoch}/${latest.epochs}`.padStart(5), state(latest)];
    // Leave two columns free for the ^C that the terminal prints.
    const room = Math.min(30, maxWidth - before.length - after.length - 6);
    return [before, ...(room < 5 ? [] : [barOf(latest.images / latest.allImages, room)]), after].join("  ");
  };
  // These options leave the terminal's settings alone, so there is nothing to restore if the program is killed.
  const shown = new cliProgress.SingleBar({
    stream,
    format: line,
    linewrap: true,
    hideCursor: false,
    clearOnComplete: true,
    gracefulExit: false,
  });
  let active = false;
  return {
    onProgress(progress) {
      latest = progress;
      if (!active) shown.start(progress.allImages, progress.images);
      active = true;
      shown.update(progress.images);
    },
    stop() {
      if (active) shown.stop();
      active = false;
    },
  };
}
