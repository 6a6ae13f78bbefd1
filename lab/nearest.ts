/** Finds the known name that a misspelled name probably stands for. */

/**
 * The known name with the smallest edit distance from `name`; undefined if this distance is more than half the length
 * of the known name.
 */
export function nearest(name: string, names: readonly string[]): string | undefined {
  const [best] = names.map((own) => ({ own, edits: distance(name, own) })).sort((a, b) => a.edits - b.edits);
  return best && best.edits <= best.own.length / 2 ? best.own : undefined;
}

/** The Levenshtein distance: the smallest number of characters to insert, delete or replace. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++)
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + Number(a[i - 1] !== b[j - 1])));
    row = next;
  }
  return row.at(-1)!;
}
