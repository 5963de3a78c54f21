// One message: what was said, and what can be done with it.
import { html } from "../vendor/preact.js";
import { textOf } from "../lib/answer.js";
import { friendlyName } from "../lib/format.js";
import { Sent } from "../attach/attached.js";
import { CopyButton } from "../parts/copy.js";
import { Icon } from "../parts/icon.js";
import { texts } from "../core/texts.js";
import { AnswerView } from "./answer.js";
import { Editor, editing } from "./editing.js";
import { answerAgain, running, saidBefore, showVersion, ticks, versionsOf } from "./state.js";
import { Live, Stats } from "./stats.js";

/** @typedef {import("./state.js").Message} Message */

/** @param {{message: Message, isRunning: boolean}} props */
export function MessageView({ message, isRunning }) {
  if (isRunning) ticks.value; // is drawn anew with each flush
  if (message.role === "user") return html`<${UserMessage} message=${message} />`;
  const { answer } = message;
  if (!answer) return null;
  const engine = answer.timings?.engine ?? (message.engine === "auto" ? null : message.engine);
  return html`<article class="message assistant" aria-busy=${isRunning}>
    <h2 class="by">${friendlyName(message.model)}${engine ? html`<span class="unseen">, ${engine}</span>` : null}</h2>
    <${AnswerView} answer=${answer} key="answer" version=${ticks.peek()} />
    ${!isRunning &&
    html`<div class="under">
      <${Versions} message=${message} />
      <${CopyButton} text=${() => textOf(answer)} label=${texts.chat.copyAnswer} />
      <${Action} icon="again" label=${texts.chat.regenerate} onClick=${() => again(message)} />
      <${Stats} answer=${answer} model=${message.model} />
    </div>`}
    ${isRunning && html`<${Live} answer=${answer} version=${ticks.peek()} />`}
  </article>`;
}

/** @param {Message} message */
function again(message) {
  const said = saidBefore(message);
  if (said) answerAgain(said);
}

/** @param {{message: Message}} props */
function UserMessage({ message }) {
  if (editing.value === message.id) {
    return html`<article class="message user"><h2 class="unseen">${texts.chat.you}</h2><${Editor} message=${message} /></article>`;
  }
  return html`<article class="message user">
    <h2 class="unseen">${texts.chat.you}</h2>
    <${Sent} message=${message} />
    ${message.text !== "" && html`<div class="said">${message.text}</div>`}
    <div class="under">
      <${Versions} message=${message} />
      <${CopyButton} text=${() => message.text} label=${texts.chat.copy} />
      <${Action} icon="edit" label=${texts.chat.edit} onClick=${() => (editing.value = message.id)} />
    </div>
  </article>`;
}

/** @param {{icon: string, label: string, onClick: () => void}} props */
function Action({ icon, label, onClick }) {
  return html`<button type="button" class="plain" disabled=${running.value !== null} aria-label=${label} title=${label} onClick=${onClick}><${Icon} name=${icon} /></button>`;
}

/** @param {{message: Message}} props */
function Versions({ message }) {
  const all = versionsOf(message);
  if (all.length < 2) return null;
  const at = all.indexOf(message);
  /** @param {number} step */
  const go = (step) => showVersion(all[at + step]);
  const isOff = running.value !== null;
  return html`<span class="versions">
    <button type="button" class="plain" disabled=${isOff || at === 0} aria-label=${texts.chat.previous} onClick=${() => go(-1)}><${Icon} name="left" /></button>
    <span>${texts.chat.version(at + 1, all.length)}</span>
    <button type="button" class="plain" disabled=${isOff || at === all.length - 1} aria-label=${texts.chat.next} onClick=${() => go(1)}><${Icon} name="right" /></button>
  </span>`;
}
