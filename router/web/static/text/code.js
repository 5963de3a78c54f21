// A block of code: coloured where its language is known, and copied by a button.
import { h, html, useEffect, useState } from "../vendor/preact.js";
import { texts } from "../core/texts.js";
import { CopyButton } from "../parts/copy.js";

const MAX_COLOURED_CHARS = 50_000;

/** @param {{code: string, language: string, isFinal: boolean}} props */
export function CodeBlock({ code, language, isFinal }) {
  const name = language.split(/\s/)[0].toLowerCase();
  const tree = useColours(code, name, isFinal);
  return html`<figure class="code">
    <figcaption><span>${name || "text"}</span><${CopyButton} text=${() => code} label=${texts.chat.copyCode} isNamed=${true} /></figcaption>
    <pre tabindex="0"><code>${tree ? tree.children.map(node) : code}</code></pre>
  </figure>`;
}

/**
 * The tree of a code's colours, once it is complete and its colours are there.
 *
 * @param {string} code @param {string} language @param {boolean} isFinal
 */
function useColours(code, language, isFinal) {
  const [tree, setTree] = useState(/** @type {import("hast").Root | null} */ (null));
  useEffect(() => {
    if (!isFinal || !language || code.length > MAX_COLOURED_CHARS) return undefined;
    let isWanted = true;
    import("../vendor/highlight.js").then(({ highlight, isKnown }) => {
      if (isWanted && isKnown(language)) setTree(highlight(language, code));
    });
    return () => {
      isWanted = false;
    };
  }, [code, language, isFinal]);
  return isFinal ? tree : null;
}

/** @param {any} each @returns {any} */
function node(each) {
  if (each.type === "text") return each.value;
  return h("span", { class: each.properties?.className?.join(" ") }, each.children?.map(node));
}
