/** The code editor: CodeMirror for JavaScript. Tab indents; Escape and then Tab leaves the editor. */
import { indentWithTab } from "@codemirror/commands";
import { javascript } from "@codemirror/lang-javascript";
import { bracketMatching, indentOnInput, syntaxHighlighting } from "@codemirror/language";
import { keymap, lineNumbers } from "@codemirror/view";
import { classHighlighter } from "@lezer/highlight";
import { EditorView, minimalSetup } from "codemirror";

export interface EditorOptions {
  readonly text: string;
  /** The editor's name for screen readers. */
  readonly label: string;
  onChange(text: string): void;
  /** Called when the reader presses Ctrl-Enter or ⌘-Enter. */
  onCheck(): void;
}

export class Editor {
  private readonly view: EditorView;

  constructor(parent: HTMLElement, { text, label, onChange, onCheck }: EditorOptions) {
    const run = (): boolean => {
      onCheck();
      return true;
    };
    this.view = new EditorView({
      parent,
      doc: text,
      extensions: [
        keymap.of([{ key: "Ctrl-Enter", run }, { key: "Mod-Enter", run }, indentWithTab]),
        minimalSetup,
        lineNumbers(),
        EditorView.lineWrapping,
        indentOnInput(),
        bracketMatching(),
        javascript(),
        syntaxHighlighting(classHighlighter),
        EditorView.contentAttributes.of({ "aria-label": label }),
        EditorView.updateListener.of((update) => {
          if (update.docChanged) onChange(update.state.doc.toString());
        }),
      ],
    });
  }

  get text(): string {
    return this.view.state.doc.toString();
  }

  /** Replaces the text. The reader can undo the change. */
  replace(text: string): void {
    this.view.dispatch({ changes: { from: 0, to: this.view.state.doc.length, insert: text } });
  }

  destroy(): void {
    this.view.destroy();
  }
}
