// The side of the page: where one is, and what holds everywhere.
import { html, signal } from "../vendor/preact.js";
import { theme } from "../core/settings.js";
import { texts } from "../core/texts.js";
import { ConversationList } from "../chat/list.js";
import { startChat } from "../chat/state.js";
import { Icon } from "./icon.js";
import { isHelpOpen } from "./help.js";

/** On narrow screens. */
export const isMenuOpen = signal(false);

export function MenuButton() {
  return html`<button
    type="button" class="plain menu-button" aria-expanded=${isMenuOpen.value} aria-controls="side"
    aria-label=${texts.menu.open} onClick=${() => (isMenuOpen.value = true)}
  ><${Icon} name="menu" /></button>`;
}

/** @param {KeyboardEvent} event */
const closeByKey = (event) => {
  if (event.key === "Escape") isMenuOpen.value = false;
};

const newChat = () => {
  isMenuOpen.value = false;
  startChat();
};

const newIncognito = () => {
  isMenuOpen.value = false;
  startChat({ incognito: true });
};

export function Navigation() {
  return html`
    <div class="shade" hidden=${!isMenuOpen.value} onClick=${() => (isMenuOpen.value = false)}></div>
    <header id="side" class=${isMenuOpen.value ? "side open" : "side"} onKeyDown=${closeByKey}>
      <div class="row brand">
        <span class="name">${texts.appName}</span>
        <button type="button" class="plain menu-button" aria-label=${texts.menu.close} onClick=${() => (isMenuOpen.value = false)}>
          <${Icon} name="close" />
        </button>
      </div>
      <div class="row">
        <button type="button" class="wide" onClick=${newChat}><${Icon} name="plus" /> ${texts.chat.new}</button>
        <button type="button" class="quiet" aria-label=${texts.chat.incognito} title=${texts.chat.incognito} onClick=${newIncognito}><${Icon} name="ghost" /></button>
      </div>
      <${ConversationList} onChosen=${() => (isMenuOpen.value = false)} />
      <div class="foot">
        <label>${texts.theme.label}
          <select value=${theme.value} onChange=${chooseTheme}>
            <option value="system">${texts.theme.system}</option>
            <option value="light">${texts.theme.light}</option>
            <option value="dark">${texts.theme.dark}</option>
          </select>
        </label>
        <button type="button" class="plain" onClick=${() => (isHelpOpen.value = true)}>
          <${Icon} name="help" /> ${texts.help.button}
        </button>
      </div>
    </header>
  `;
}

/** @param {Event} event */
function chooseTheme(event) {
  theme.value = /** @type {any} */ (event.target).value;
}
