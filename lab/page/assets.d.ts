/** What the page imports by Vite: style sheets, addresses of files, and modules by a pattern. */
/// <reference types="vite/client" />
