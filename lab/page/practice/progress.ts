/**
 * The reader's progress in each exercise. Progress is saved in localStorage if the browser allows it, and is never sent
 * to a server.
 */

export interface Progress {
  /** The answer to the prediction. */
  readonly answer?: string;
  /** The reader's code, if it differs from the starter. */
  readonly code?: string;
  readonly solved?: boolean;
}

const KEY = "nabla-practice";

function stored(): Record<string, Progress> {
  try {
    const value: unknown = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    return typeof value === "object" && value !== null ? (value as Record<string, Progress>) : {};
  } catch {
    return {}; // the browser may forbid storage, or the stored data may be invalid
  }
}

export class ProgressStore {
  private readonly all = stored();

  of(name: string): Progress {
    return this.all[name] ?? {};
  }

  /**
   * Updates the progress in one exercise, and stores it. If the browser forbids storage, the progress is lost when the
   * page is closed.
   */
  update(name: string, change: { readonly [K in keyof Progress]?: Progress[K] | undefined }): void {
    this.all[name] = { ...this.all[name], ...change } as Progress;
    try {
      localStorage.setItem(KEY, JSON.stringify(this.all));
    } catch {
      // Storage is full or forbidden.
    }
  }
}
