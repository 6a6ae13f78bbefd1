/**
 * Runs the table of contents and the buttons for the previous and the next part, and stores the reader's place in the
 * browser.
 */

const KEY = "nabla-lab-position";

/** If the browser forbids storage, the reader's place is lost when the page is closed. */
function stored(): string | null {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}
function store(id: string): void {
  try {
    localStorage.setItem(KEY, id);
  } catch {}
}

/** Fills the table of contents, and keeps the progress bar at the top up to date. */
export function offerContents(): void {
  const headings = [...document.querySelectorAll<HTMLElement>("main h2, main h3, main h4")];
  const scenes = [...document.querySelectorAll<HTMLElement>(".scene")];
  const menu = document.querySelector<HTMLDetailsElement>("#contents")!;
  const bar = document.querySelector<HTMLProgressElement>("#read")!;
  const resume = document.querySelector<HTMLAnchorElement>("#resume")!;
  for (const a of menu.querySelectorAll("a")) a.addEventListener("click", () => void (menu.open = false));
  addEventListener("keydown", ({ key }) => {
    if (key === "Escape") menu.open = false;
  });

  const last = stored();
  const place = last ? document.getElementById(last) : null;
  if (place && !location.hash) {
    resume.href = `#${last}`;
    resume.textContent = `Continue with “${titleOf(place)}”`;
    resume.hidden = false;
  }

  const barHeight = (): number => document.querySelector<HTMLElement>(".top")!.offsetHeight;
  /** The index of the last scene that starts in or above the top quarter of the window. */
  const current = (): number =>
    scenes.findLastIndex((scene) => scene.getBoundingClientRect().top <= barHeight() + innerHeight / 4);
  let isWaiting = false;
  const update = (): void => {
    isWaiting = false;
    const index = current();
    bar.value = Math.min(1, scrollY / Math.max(1, document.documentElement.scrollHeight - innerHeight));
    const heading = headings.findLast((one) => one.getBoundingClientRect().top <= barHeight() + innerHeight / 4);
    for (const a of menu.querySelectorAll("a"))
      if (a.hash === `#${heading?.id}`) a.setAttribute("aria-current", "location");
      else a.removeAttribute("aria-current");
    const anchor = scenes[index]?.querySelector<HTMLElement>("[id]");
    if (anchor && index > 0) store(anchor.id);
  };
  addEventListener(
    "scroll",
    () => {
      if (!isWaiting) requestAnimationFrame(update);
      isWaiting = true;
    },
    { passive: true },
  );
  const move = (by: number): void => {
    const to = scenes[Math.min(scenes.length - 1, Math.max(0, current() + by))];
    to?.scrollIntoView();
  };
  document.querySelector("#previous")!.addEventListener("click", () => move(-1));
  document.querySelector("#next")!.addEventListener("click", () => move(1));
}

/** The text of the last heading at or before an element, or the document's title if there is none. */
function titleOf(place: HTMLElement): string {
  const headings = [...document.querySelectorAll<HTMLElement>("main h2, main h3, main h4")];
  const heading = headings.findLast(
    (one) => one === place || (one.compareDocumentPosition(place) & Node.DOCUMENT_POSITION_FOLLOWING) !== 0,
  );
  return (heading?.firstChild?.textContent ?? document.title).trim();
}
