/** Imports that Vite resolves: style sheets, URLs of files, and modules by pattern. */
/// <reference types="vite/client" />
