// Asks for an API key when the server wants one.
import { html, useSignal } from "../vendor/preact.js";
import { askJson, forgetKey, hasKey, needsKey, useKey } from "../core/api.js";
import { texts } from "../core/texts.js";
import { Dialog } from "../parts/dialog.js";

export function KeyDialog() {
  const error = useSignal("");
  /** @param {SubmitEvent} event */
  const submit = async (event) => {
    event.preventDefault();
    const form = new FormData(/** @type {HTMLFormElement} */ (event.target));
    const secret = String(form.get("key")).trim();
    try {
      await askJson("/v1/models", { headers: { Authorization: `Bearer ${secret}` } });
    } catch (failed) {
      // The server says which: it does not know the key, the key has expired, it may not do this; or there is no server.
      error.value = failed instanceof Error ? failed.message : String(failed);
      return;
    }
    error.value = "";
    useKey(secret, form.get("remember") === "on");
  };
  return html`<${Dialog} title=${texts.key.title} isOpen=${needsKey.value} onClose=${() => (needsKey.value = false)}>
    <form onSubmit=${submit}>
      <label>${texts.key.label}<input name="key" type="password" autocomplete="off" required autofocus /></label>
      <label class="inline"><input name="remember" type="checkbox" /> ${texts.key.remember}</label>
      ${error.value && html`<p role="alert" class="error">${error.value}</p>`}
      <p class="row">
        <button type="submit">${texts.key.use}</button>
        ${hasKey() && html`<button type="button" onClick=${forgetKey}>${texts.key.forget}</button>`}
      </p>
    </form>
  <//>`;
}
