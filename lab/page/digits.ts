/** The digits' file, for workers: fetched once, from beside the page. */

import { readDigits } from "../../cli/mnist/packed.ts";
import url from "../../dist/bin/digits.gz?url";

let loading: ReturnType<typeof readDigits> | undefined;

/** @throws Error where the file is not to be had; another call then asks for it again */
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
