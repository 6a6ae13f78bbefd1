/** What the reader has done, exercise by exercise. It is stored if the browser allows it, and never leaves the browser. */

export interface Progress {
  /** The answer to the prediction. */
  readonly answer?: string;
  /** The code, if it differs from the starter. */
  readonly code?: string;
  readonly solved?: boolean;
}

const KEY = "nabla-practice";

function stored(): Record<string, Progress> {
  try {
    const value: unknown = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    return typeof value === "object" && value !== null ? (value as Record<string, Progress>) : {};
  } catch {
    return {}; // storage may be forbidden, or contain something else
  }
}

export class ProgressStore {
  private readonly all = stored();

  of(name: string): Progress {
    return this.all[name] ?? {};
  }

  /** Changes the progress of one exercise. Without storage, it lasts until the page is closed. */
  update(name: string, change: { readonly [K in keyof Progress]?: Progress[K] | undefined }): void {
    this.all[name] = { ...this.all[name], ...change } as Progress;
    try {
      localStorage.setItem(KEY, JSON.stringify(this.all));
    } catch {
      // The store is full or forbidden.
    }
  }
}
