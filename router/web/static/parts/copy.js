// A button that copies a text.
import { html, useSignal } from "../vendor/preact.js";
import { announce } from "../core/status.js";
import { texts } from "../core/texts.js";
import { Icon } from "./icon.js";

/** @param {string} text */
async function copy(text) {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(text);
    return;
  }
  // Over plain HTTP from another machine browsers have no clipboard for pages.
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "unseen";
  document.body.append(area);
  area.select();
  const isCopied = document.execCommand("copy");
  area.remove();
  if (!isCopied) throw new Error(texts.status.copyFailed);
}

/** @param {{text: () => string, label: string, isNamed?: boolean}} props */
export function CopyButton({ text, label, isNamed }) {
  const isDone = useSignal(false);
  const act = async () => {
    try {
      await copy(text());
      isDone.value = true;
      announce(texts.status.copied);
      setTimeout(() => (isDone.value = false), 1500);
    } catch {
      announce(texts.status.copyFailed);
    }
  };
  return html`<button type="button" class="plain copy" aria-label=${label} title=${label} onClick=${act}>
    <${Icon} name="copy" />${isNamed || isDone.value ? html`<span>${isDone.value ? texts.status.copied : texts.chat.copy}</span>` : null}
  </button>`;
}
