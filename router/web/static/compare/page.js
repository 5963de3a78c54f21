// Compare: a prompt, two that answer it one after the other, and what lies between.
import { html, useEffect, useSignal } from "../vendor/preact.js";
import { Boundary } from "../parts/boundary.js";
import { Composer } from "../parts/composer.js";
import { Icon } from "../parts/icon.js";
import { MenuButton } from "../frame/navigation.js";
import { OptionsDialog } from "../chat/options.js";
import { ToEnd, toEnd, useFollowing } from "../parts/scroll.js";
import { isConnected } from "../core/server.js";
import { texts } from "../core/texts.js";
import { Tally } from "./blind.js";
import { RoundView } from "./round.js";
import { Setup } from "./setup.js";
import { compare, draft, isBlind, resume, rounds, running, sides, start, stop, ticks } from "./state.js";

export function ComparePage() {
  const hasOptions = useSignal(false);
  useEffect(resume, []);
  return html`<div class="chat compare">
    <div class="top">
      <${MenuButton} />
      <h1>${texts.compare.title}</h1>
      <label class="inline" title=${texts.compare.blindHelp}><input type="checkbox" checked=${isBlind.value} onChange=${() => (isBlind.value = !isBlind.value)} /> ${texts.compare.blind}</label>
      <button type="button" class="plain" aria-label=${texts.compare.settings} title=${texts.compare.settings} onClick=${() => (hasOptions.value = true)}>
        <${Icon} name="tune" />
      </button>
    </div>
    <${Rounds} />
    <${Prompt} />
    <${OptionsDialog} ofBoth=${true} isOpen=${hasOptions.value} onClose=${() => (hasOptions.value = false)} />
  </div>`;
}

function Rounds() {
  const list = rounds.value;
  const element = useFollowing([ticks.value, list]);
  return html`<div class="log" ref=${element} tabindex="0" role="log" aria-live="off" aria-label=${texts.compare.log}>
    <${Setup} />
    ${list.length === 0 && html`<p class="empty">${texts.compare.empty}</p>`}
    ${list.map((round, number) => html`<${Boundary} key=${round.id}><${RoundView} round=${round} number=${number + 1} /><//>`)}
    <${Tally} />
    <${ToEnd} />
  </div>`;
}

function Prompt() {
  const from = start.value;
  const before =
    from &&
    html`<p class="row start"><span class="note">${texts.compare.goesOnFrom(from.name)}</span>
      <button type="button" class="quiet" onClick=${() => (start.value = null)}>${texts.compare.anew}</button></p>`;
  return html`<${Composer}
    text=${draft} label=${texts.compare.placeholder} hint=${texts.compare.hint(isBlind.value)} isRunning=${running.value !== null}
    canSend=${isConnected.value && sides.value !== null} onSend=${send} onStop=${stop} before=${before}
  />`;
}

function send() {
  const text = draft.value.trim();
  draft.value = "";
  toEnd();
  compare(text);
}
