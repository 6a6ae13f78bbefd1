/** Options objects. */

/** The options without those that are undefined, which would override defaults in `{ ...defaults, ...options }`. */
export function withoutUndefined<T extends object>(options: { [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as T;
}
