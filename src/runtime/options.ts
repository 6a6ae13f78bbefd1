/** Cleans options objects. */

/** Removes undefined options, which would override defaults in `{ ...defaults, ...options }`. */
export function withoutUndefined<T extends object>(options: { [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as T;
}
