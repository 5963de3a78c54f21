// A formula, drawn by KaTeX when it is there; until then, and where it cannot be drawn, its source.
import { html, useEffect, useRef } from "../vendor/preact.js";

/** @type {Promise<typeof import("../vendor/katex.js")> | null} */
let loading = null;

function katex() {
  if (loading === null) {
    const style = document.createElement("link");
    style.rel = "stylesheet";
    style.href = new URL("../vendor/katex.css", import.meta.url).href;
    document.head.append(style);
    loading = import("../vendor/katex.js");
  }
  return loading;
}

// No links, pictures or styles by formulas (`trust`), and bounds for macros and sizes. Source: KaTeX, "Options".
const OPTIONS = { throwOnError: true, strict: "ignore", trust: false, maxExpand: 1000, maxSize: 50 };

/** @param {{source: string, isBlock: boolean, raw: string}} props */
export function Formula({ source, isBlock, raw }) {
  const element = useRef(/** @type {HTMLElement | null} */ (null));
  useEffect(() => {
    const target = element.current;
    if (!target) return;
    katex().then(({ render }) => {
      try {
        render(source, target, /** @type {any} */ ({ ...OPTIONS, displayMode: isBlock }));
      } catch {
        target.textContent = raw.trim();
      }
    });
  }, [source, isBlock]);
  return html`<span class=${isBlock ? "formula block" : "formula"} tabindex=${isBlock ? 0 : null}><span key=${source} ref=${element}>${raw.trim()}</span></span>`;
}
