/** Fetches the digits file once, for workers. */

import { readDigits } from "../../cli/mnist/packed.ts";
import url from "../../dist/bin/digits.gz?url";

let loading: ReturnType<typeof readDigits> | undefined;

/** @throws Error if the file cannot be loaded; the next call retries */
export function loadDigits(): ReturnType<typeof readDigits> {
  loading ??= fetchDigits().catch((error: unknown) => {
    loading = undefined;
    throw error;
  });
  return loading;
}

async function fetchDigits(): ReturnType<typeof readDigits> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`The digits could not be loaded: ${response.status} ${response.statusText}.`);
  return readDigits(new Uint8Array(await response.arrayBuffer()));
}
