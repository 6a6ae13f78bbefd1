/** Splits exercise text into its parts. */

export interface Part {
  readonly kind: "text" | "code" | "emphasis" | "formula";
  readonly text: string;
}

/** The parts of a paragraph: `code`, *emphasis*, $formula$ and plain text. */
export function partsOf(paragraph: string): Part[] {
  return paragraph.split(/(`[^`]+`|\$[^$]+\$|\*[^*\s][^*]*\*)/).flatMap((piece): Part[] => {
    if (piece === "") return [];
    const kind = ({ "`": "code", $: "formula", "*": "emphasis" } as const)[piece[0]!];
    return kind && piece.length > 2 ? [{ kind, text: piece.slice(1, -1) }] : [{ kind: "text", text: piece }];
  });
}

/** The formula of a paragraph between double dollars; undefined for text. */
export const displayedFormula = (paragraph: string): string | undefined => /^\$\$([^$]+)\$\$$/.exec(paragraph)?.[1];
