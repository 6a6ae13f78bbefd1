/**
 * Sets the light or dark theme, which follows the system until the reader chooses one. The choice is stored if the
 * browser allows it.
 */

type Theme = "light" | "dark";
const KEY = "nabla-lab-theme";

const storedTheme = (): Theme | undefined => {
  try {
    const value = localStorage.getItem(KEY);
    return value === "light" || value === "dark" ? value : undefined;
  } catch {
    return undefined; // the browser may forbid storage
  }
};

/** Makes the button switch between the themes. */
export function offerThemes(button: HTMLButtonElement): void {
  const system = matchMedia("(prefers-color-scheme: dark)");
  let chosen = storedTheme();
  const current = (): Theme => chosen ?? (system.matches ? "dark" : "light");
  const show = (): void => {
    if (chosen) document.documentElement.dataset.theme = chosen;
    button.textContent = current() === "dark" ? "Light theme" : "Dark theme";
  };
  button.addEventListener("click", () => {
    chosen = current() === "dark" ? "light" : "dark";
    try {
      localStorage.setItem(KEY, chosen);
    } catch {
      // The choice lasts until the page is closed.
    }
    show();
  });
  system.addEventListener("change", show);
  show();
}
