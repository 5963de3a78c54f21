// What a model answered: thoughts and calls folded, text as Markdown; before it, what it waits for.
import { html } from "../vendor/preact.js";
import { isEnded } from "../lib/answer.js";
import { count, duration } from "../lib/format.js";
import { chosenState } from "../core/server.js";
import { texts } from "../core/texts.js";
import { Progress } from "../parts/progress.js";
import { CodeBlock } from "../text/code.js";
import { Markdown } from "../text/markdown.js";

/**
 * @typedef {import("../lib/answer.js").Answer} Answer
 * @typedef {import("../lib/answer.js").Part} Part
 */

/** @param {{answer: Answer, version: number, waiting?: unknown}} props `waiting`: what is shown before the first text. */
export function AnswerView({ answer, waiting }) {
  const hasEnded = isEnded(answer);
  const { wound } = answer;
  return html`
    ${wound && html`<p class="note">${texts.chat.wound(wound.left_out, count(wound.turns), count(wound.tokens_before), count(wound.tokens_after))}</p>`}
    ${answer.parts.map((part, index) => part && html`<${PartView} key=${index} part=${part} text=${part.text} isWhole=${part.isDone || hasEnded} />`)}
    ${!hasEnded && answer.firstAt === null && (waiting ?? html`<${Waiting} progress=${answer.progress} />`)}
    ${answer.state === "failed" && html`<p class="error" role="alert">${texts.chat.failed}${answer.error}</p>`}
    ${answer.state === "cancelled" && html`<p class="note">${texts.chat.stopped}</p>`}
    ${answer.state === "incomplete" && !answer.isCutByLength && html`<p class="note">${texts.chat.brokenOff}</p>`}
    ${answer.isCutByLength && html`<p class="note">${texts.chat.cut}</p>`}
  `;
}

/** @param {{part: Part, text: string, isWhole: boolean}} props */
function PartView({ part, text, isWhole }) {
  if (part.kind === "text") return html`<${Markdown} text=${text} isWhole=${isWhole} />`;
  if (part.kind === "call") {
    return html`<details class="fold"><summary>${texts.chat.call(part.name)}</summary><${CodeBlock} code=${text} language="json" isFinal=${isWhole} /></details>`;
  }
  const time = part.ended === null ? null : duration(part.ended - part.began);
  return html`<details class="fold">
    <summary>${time === null ? texts.chat.thinking : texts.chat.thought(time)}</summary>
    <${Markdown} text=${text} isWhole=${isWhole} />
  </details>`;
}

// Whoever reads signals is drawn anew only when those or its props change: an answer that changes in place is neither.
/** @param {{progress: Answer["progress"]}} props */
function Waiting({ progress }) {
  if (progress && progress.total > 0) {
    const { done, total } = progress;
    return html`<${Progress} label=${texts.chat.prefill} share=${done / total} detail=${texts.chat.prefillTokens(count(done), count(total))} />`;
  }
  const state = chosenState.value;
  if (state?.state === "loading") {
    const share = state.load_fraction ?? 0;
    return html`<${Progress} label=${texts.chat.loading} share=${share} detail=${texts.picker.loading(share)} />`;
  }
  return html`<p class="note pulse">${state?.state === "generating" ? texts.chat.prefill : texts.chat.waiting}</p>`;
}
