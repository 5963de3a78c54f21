// The settings: of the server, of this browser, who may ask, and what is kept.
import { html } from "../vendor/preact.js";
import { Sheet } from "../sheet/sheet.js";
import { Boundary } from "../parts/boundary.js";
import { texts } from "../core/page_texts.js";
import { Browser } from "./browser.js";
import { Config } from "./config.js";
import { Keys } from "./keys.js";
import { Storage } from "./storage.js";

export function SettingsPage() {
  return html`<${Sheet} title=${texts.settings.title}>
    <${Boundary}><${Browser} /><//>
    <${Boundary}><${Keys} /><//>
    <${Boundary}><${Storage} /><//>
    <${Boundary}><${Config} /><//>
  <//>`;
}
