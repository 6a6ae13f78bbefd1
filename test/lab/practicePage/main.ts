/** A page that has only the exercises. */
import "../../../lab/view/view.css";
import "../../../lab/page/page.css";
import "../../../lab/page/figure.css";
import { mountPractice, openPractice } from "../../../lab/page/practice/view.ts";

Object.assign(globalThis, { openPractice });
mountPractice(document.querySelector<HTMLElement>("#practice")!);
