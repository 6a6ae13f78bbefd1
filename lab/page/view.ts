/** What the page shows at one address: taken away by its `close`, which ends its work. */
export interface View {
  readonly title: string;
  readonly element: HTMLElement;
  close(): void;
}
