// Compare: a prompt, two that answer it one after the other, and what lies between.
import { html, useEffect, useSignal } from "../vendor/preact.js";
import { Boundary } from "../parts/boundary.js";
import { Icon } from "../parts/icon.js";
import { MenuButton } from "../frame/navigation.js";
import { OptionsDialog } from "../chat/options.js";
import { ToEnd, useFollowing } from "../parts/scroll.js";
import { texts } from "../core/texts.js";
import { Tally } from "./blind.js";
import { attachments, Prompt } from "./prompt.js";
import { RoundView } from "./round.js";
import { Setup } from "./setup.js";
import { isBlind, resume, rounds, running, ticks } from "./state.js";

export function ComparePage() {
  const hasOptions = useSignal(false);
  useEffect(resume, []);
  return html`<div class="chat compare" ...${attachments.dropping}>
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
  const element = useFollowing([ticks.value, list, running.value]);
  return html`<div class="log" ref=${element} tabindex="0" role="log" aria-live="off" aria-label=${texts.compare.log}>
    <${Setup} />
    ${list.length === 0 && html`<p class="empty">${texts.compare.empty}</p>`}
    ${list.map((round, number) => html`<${Boundary} key=${round.id}><${RoundView} round=${round} number=${number + 1} /><//>`)}
    <${Tally} />
    <${ToEnd} />
  </div>`;
}
