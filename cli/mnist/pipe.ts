/** Output that is piped. */

/** Has the program end where whoever reads its output stops early; other errors of it end it with 1. */
export function endWithReader(name: string): void {
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit();
    console.error(`${name}: the output could not be written: ${error.message}`);
    process.exit(1);
  });
}
