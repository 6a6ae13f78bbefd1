/** Web streams into Node's: no faster than they are taken, and no longer than somebody takes them. */

/** What is used of a Writable of Node's. */
export interface Sink {
  readonly destroyed: boolean;
  readonly writableFinished: boolean;
  write(piece: Uint8Array): boolean;
  end(whole?: Uint8Array): unknown;
  once(event: string, listener: () => void): unknown;
  destroy(): unknown;
}

/** Calls `leave` when the sink is gone before it has everything, now or later. */
export function onLeaving(sink: Sink, leave: () => void): void {
  const look = (): void => {
    if (!sink.writableFinished) leave();
  };
  if (sink.destroyed) look();
  else sink.once("close", look);
}

/** Writes a body, and ends the sink. A body that breaks off leaves it open; a sink that goes away cancels the body. */
export async function pipe(body: ReadableStream<Uint8Array> | null, sink: Sink): Promise<void> {
  const reader = body?.getReader();
  if (reader) onLeaving(sink, () => void reader.cancel().catch(() => {}));
  const closed = new Promise<void>((resolve) => sink.once("close", resolve));
  for (;;) {
    const { done, value } = (await reader?.read()) ?? { done: true };
    if (done) break;
    if (sink.write(value!) || sink.destroyed) continue;
    await Promise.race([new Promise<void>((drained) => sink.once("drain", drained)), closed]);
  }
  sink.end();
}
