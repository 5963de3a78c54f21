// The list of keys.
import { html, signal } from "../vendor/preact.js";
import { texts } from "../core/texts.js";
import { Dialog } from "../parts/dialog.js";

export const isHelpOpen = signal(false);

export function HelpDialog() {
  const close = () => (isHelpOpen.value = false);
  return html`<${Dialog} title=${texts.help.title} isOpen=${isHelpOpen.value} onClose=${close}>
    <dl class="keys">
      ${texts.help.rows.map(([keys, what]) => html`<div><dt><kbd>${keys}</kbd></dt><dd>${what}</dd></div>`)}
    </dl>
    <button type="button" onClick=${close}>${texts.help.close}</button>
  <//>`;
}
