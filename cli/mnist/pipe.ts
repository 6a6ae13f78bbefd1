/** Handles errors when the output is a pipe. */

/** Exits quietly if the reader of the output stops early; exits with code 1 on other output errors. */
export function exitOnOutputError(name: string): void {
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit();
    console.error(`${name}: could not write the output: ${error.message}`);
    process.exit(1);
  });
}
