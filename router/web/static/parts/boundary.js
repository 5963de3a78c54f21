// Keeps an error in the part of the page that has it.
import { html, useErrorBoundary } from "../vendor/preact.js";
import { texts } from "../core/texts.js";

/** @param {{children?: unknown}} props */
export function Boundary({ children }) {
  const [error, reset] = useErrorBoundary((thrown) => console.error(thrown));
  if (!error) return children;
  return html`<div class="notice" role="alert">
    <p>${texts.error.page} <code>${String(error.message ?? error)}</code></p>
    <button type="button" onClick=${reset}>${texts.error.retry}</button>
  </div>`;
}
