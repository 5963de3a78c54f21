// The page's one live region, and the last thing that went wrong.
import { html } from "../vendor/preact.js";
import { alert, spoken } from "../core/status.js";
import { isConnected } from "../core/server.js";
import { texts } from "../core/texts.js";
import { Icon } from "../parts/icon.js";

export function StatusRegion() {
  return html`
    <div class="unseen" role="status">${spoken.value}</div>
    <div class="toasts">
      ${!isConnected.value && html`<p class="toast" role="alert">${texts.status.gone}</p>`}
      ${alert.value !== null &&
      html`<p class="toast" role="alert">
        <span>${alert.value}</span>
        <button type="button" class="plain" aria-label=${texts.help.close} onClick=${() => (alert.value = null)}>
          <${Icon} name="close" />
        </button>
      </p>`}
    </div>
  `;
}
