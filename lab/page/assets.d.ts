/** Imports that Vite resolves: style sheets, file URLs, and modules by pattern. */
/// <reference types="vite/client" />

declare module "virtual:practices" {
  /** The exercises, in the article's order. The build renders their text. */
  export const practices: readonly import("./practice/shown.ts").Shown[];
}
