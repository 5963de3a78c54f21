// Pictures that go with the next message: chosen, pasted or dropped, if the model sees.
import { computed, html, signal, useRef } from "../vendor/preact.js";
import { friendlyName } from "../lib/format.js";
import { readImage } from "../lib/images.js";
import { Icon } from "../parts/icon.js";
import { chosen, models } from "../core/server.js";
import { announce, complain } from "../core/status.js";
import { texts } from "../core/texts.js";

/** @typedef {{name: string, url: string}} Picture */

export const attached = signal(/** @type {Picture[]} */ ([]));

/** Why the chosen model cannot be shown pictures; null = it can. */
export const blindness = computed(() => {
  if (!chosen.value || sees(chosen.value)) return null;
  const others = (models.value ?? []).filter(sees).map(({ id }) => friendlyName(id));
  return texts.attach.cannotSee(friendlyName(chosen.value.id), others);
});

/** @param {import("../core/server.js").Model} model */
function sees({ input_modalities }) {
  return input_modalities.includes("image");
}

/** @param {Iterable<File>} files */
export async function attach(files) {
  for (const file of files) {
    if (!file.type.startsWith("image/")) complain(texts.attach.noPicture(file.name));
    else if (blindness.value !== null) complain(blindness.value);
    else await attachPicture(file);
  }
}

/** @param {File} file */
async function attachPicture(file) {
  try {
    const url = await readImage(file);
    attached.value = [...attached.value, { name: file.name, url }];
    announce(texts.attach.attached(file.name));
  } catch {
    complain(texts.attach.unreadable(file.name));
  }
}

/** @param {ClipboardEvent} event */
export function onPaste(event) {
  const files = [...(event.clipboardData?.files ?? [])];
  if (files.length === 0) return;
  event.preventDefault();
  attach(files);
}

/** What an element needs so that files can be dropped on it. */
export const dropping = {
  /** @param {DragEvent} event */
  onDragOver: (event) => {
    if (event.dataTransfer?.types.includes("Files")) event.preventDefault();
  },
  /** @param {DragEvent} event */
  onDrop: (event) => {
    const files = [...(event.dataTransfer?.files ?? [])];
    if (files.length === 0) return;
    event.preventDefault();
    attach(files);
  },
};

export function AttachButton() {
  const input = useRef(/** @type {HTMLInputElement | null} */ (null));
  /** @param {any} event */
  const take = ({ target }) => {
    attach([...target.files]);
    target.value = ""; // the same file can be chosen again
    document.getElementById("composer")?.focus();
  };
  return html`
    <input ref=${input} type="file" accept="image/*" multiple hidden aria-label=${texts.attach.button} onChange=${take} />
    <button type="button" class="plain clip" aria-label=${texts.attach.button} title=${blindness.value ?? texts.attach.button} onClick=${() => input.current?.click()}><${Icon} name="clip" /></button>
  `;
}

export function Attached() {
  const list = attached.value;
  if (list.length === 0) return null;
  /** @param {Picture} picture */
  const remove = (picture) => {
    attached.value = attached.value.filter((each) => each !== picture);
    announce(texts.attach.removed(picture.name));
    document.getElementById("composer")?.focus();
  };
  return html`<ul class="attached" aria-label=${texts.attach.list}>
      ${list.map(
        (picture) => html`<li>
          <img src=${picture.url} alt=${picture.name} />
          <button type="button" class="plain" aria-label=${texts.attach.remove(picture.name)} onClick=${() => remove(picture)}><${Icon} name="close" /></button>
        </li>`,
      )}
    </ul>
    ${blindness.value && html`<p class="error" role="alert">${blindness.value}</p>`}`;
}

/** The pictures of a message. @param {{images: string[]}} props */
export function Pictures({ images }) {
  return html`<div class="pictures">${images.map((url, number) => html`<img src=${url} alt=${texts.attach.shown(number + 1)} loading="lazy" />`)}</div>`;
}
