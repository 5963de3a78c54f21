// The page: its frame, what stands in it by address, and what keys do everywhere.
import { effect, html, render, signal } from "./vendor/preact.js";
import { isChordOf, isTyping } from "./lib/keys.js";
import { Boundary } from "./parts/boundary.js";
import { HelpDialog, isHelpOpen } from "./frame/help.js";
import { KeyDialog } from "./frame/key.js";
import { Lazy } from "./frame/lazy.js";
import { Navigation, isMenuOpen } from "./frame/navigation.js";
import { PAGES } from "./frame/pages.js";
import { StatusRegion } from "./frame/status.js";
import { ChatPage } from "./chat/page.js";
import { conversationId, startChat } from "./chat/state.js";
import { addressOf, goTo, pageInAddress, ROOT } from "./core/route.js";
import { enter } from "./core/session.js";
import { followServer, loadChosen, models } from "./core/server.js";
import { loadsAtStart, model } from "./core/settings.js";
import { complain } from "./core/status.js";
import { texts } from "./core/texts.js";

// As style/shell.css has it: the side is a menu there.
const NARROW = "(width <= 46rem)";

function App() {
  const load = PAGES.find(({ name }) => name === pageInAddress.value)?.load;
  return html`
    <a class="skip" href="#content">${texts.skip}</a>
    <${Navigation} />
    <main id="content" tabindex="-1" inert=${isMenuOpen.value}>
      <${Boundary} key=${pageInAddress.value}>${load ? html`<${Lazy} load=${load} />` : html`<${ChatPage} />`}<//>
    </main>
    <${StatusRegion} />
    <${HelpDialog} />
    <${KeyDialog} />
  `;
}

/** @param {KeyboardEvent} event */
function onKey(event) {
  if (isChordOf(event, "k")) {
    event.preventDefault();
    isMenuOpen.value = matchMedia(NARROW).matches;
    requestAnimationFrame(() => document.getElementById("search")?.focus());
  } else if (isChordOf(event, "m", true)) {
    event.preventDefault();
    document.getElementById("model")?.focus();
  } else if (isChordOf(event, "o", true)) {
    event.preventDefault();
    startChat();
  } else if (isChordOf(event, "e", true)) {
    event.preventDefault();
    goTo(pageInAddress.value === "compare" ? addressOf(conversationId.value) : `${ROOT}compare`);
  } else if (event.key === "?" && !isTyping(event.target)) {
    event.preventDefault();
    isHelpOpen.value = true;
  }
}

const hasAsked = signal(false);
effect(() => {
  if (hasAsked.value || models.value === null) return;
  hasAsked.value = true;
  if (loadsAtStart.value && model.value) loadChosen().catch(complain);
});

document.addEventListener("keydown", onKey);
// Not before: what asks without the key that a code brings would be told that it needs one.
enter()
  .catch(complain)
  .finally(() => {
    render(html`<${App} />`, document.body);
    followServer();
  });
