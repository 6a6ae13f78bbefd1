/** Shows the source code of an experiment in a dialog. */
import { maker } from "../view/dom.ts";
import type { Description } from "./worker.ts";

const make = maker(document);
const sources = import.meta.glob<string>("../experiments/*.ts", { query: "?raw", import: "default" });

export async function openSource({ name, title, functions }: Description): Promise<void> {
  const code = (await sources[`../experiments/${name}.ts`]?.()) ?? "";
  const close = make("button", { type: "button" }, "Close");
  const dialog = make(
    "dialog",
    { class: "source", "aria-label": `Source code of ${title}` },
    make("header", {}, make("strong", {}, `${name}.ts`), close),
    functions.length > 0 && make("p", {}, `It uses ${functions.join(", ")} from nabla/gradients.`),
    make("pre", { tabindex: 0 }, make("code", {}, code)),
  );
  close.addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}
