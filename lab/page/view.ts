/** The content of the page at one address. `close` ends its work. */
export interface View {
  readonly title: string;
  readonly element: HTMLElement;
  close(): void;
}
