// The side of the page: where one is, and what holds everywhere.
import { html, signal } from "../vendor/preact.js";
import { texts } from "../core/texts.js";
import { addressOf, follow, pageInAddress, ROOT } from "../core/route.js";
import { ConversationList } from "../conversations/list.js";
import { conversationId, startChat } from "../chat/state.js";
import { Icon } from "../parts/icon.js";
import { ThemeChoice } from "../parts/theme.js";
import { isHelpOpen } from "./help.js";
import { PAGES } from "./pages.js";

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

function Pages() {
  const open = pageInAddress.value;
  /** @param {string} path */
  const go = (path) => (/** @type {MouseEvent} */ event) => {
    isMenuOpen.value = false;
    follow(event, path);
  };
  const chat = addressOf(conversationId.value);
  return html`<nav class="pages" aria-label=${texts.pages.label}>
    <a href=${chat} aria-current=${open === null ? "page" : null} onClick=${go(chat)}><${Icon} name="chat" /> ${texts.pages.chat}</a>
    ${PAGES.map(
      ({ name, icon }) => html`<a href=${ROOT + name} aria-current=${open === name ? "page" : null} onClick=${go(ROOT + name)}><${Icon} name=${icon} /> ${texts.pages[name]}</a>`,
    )}
  </nav>`;
}

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
      <${Pages} />
      <div class="row">
        <button type="button" class="wide" onClick=${newChat}><${Icon} name="plus" /> ${texts.chat.new}</button>
        <button type="button" class="quiet" aria-label=${texts.chat.incognito} title=${texts.chat.incognito} onClick=${newIncognito}><${Icon} name="ghost" /></button>
      </div>
      <${ConversationList} onChosen=${() => (isMenuOpen.value = false)} />
      <div class="foot">
        <${ThemeChoice} />
        <button type="button" class="plain" onClick=${() => (isHelpOpen.value = true)}>
          <${Icon} name="help" /> ${texts.help.button}
        </button>
      </div>
    </header>
  `;
}
