/** The content of the page at one address. `close` stops its activity. */
export interface View {
  readonly title: string;
  readonly element: HTMLElement;
  close(): void;
}
