// What goes with the next message, chosen, pasted or dropped: pictures, if the model sees, and documents.
import { computed, signal } from "../vendor/preact.js";
import { friendlyName } from "../lib/format.js";
import { filePart, readImage } from "../lib/attached.js";
import { askJson } from "../core/api.js";
import { chatLoad, chosen, loadHeaders, models } from "../core/server.js";
import { engine, model } from "../core/settings.js";
import { announce, complain } from "../core/status.js";
import { texts } from "../core/texts.js";

/**
 * @typedef {import("../lib/attached.js").Document} Document
 * @typedef {{name: string, url: string}} Picture
 * @typedef {object} Sheet A document on its way.
 * @property {string} name
 * @property {Document | null} read null = it is being read.
 * @property {number | null} numPages
 * @property {number | null} numTokens null = not counted yet, or nobody can.
 * @property {string[]} notes
 */

/** @type {import("../vendor/preact.js").Signal<(Picture | Sheet)[]>} */
export const attached = signal([]);

/** Why the chosen model cannot be shown pictures; null = it can. */
const blindness = computed(() => {
  if (!chosen.value || sees(chosen.value)) return null;
  const others = (models.value ?? []).filter(sees).map(({ id }) => friendlyName(id));
  return texts.attach.cannotSee(friendlyName(chosen.value.id), others);
});

/** @param {Picture | Sheet} each @returns {each is Picture} */
const isPicture = (each) => "url" in each;

/** Why what is attached cannot be sent now; null = it can, or waits for nothing. */
export const obstacle = computed(() => (attached.value.some(isPicture) ? blindness.value : null));

/** Whether sending has to wait. */
export const isHeld = computed(() => obstacle.value !== null || attached.value.some((each) => !isPicture(each) && each.read === null));

/** Take what is attached away, to send it. @returns {{images: string[], documents: Document[]}} */
export function takeAttached() {
  const all = attached.value;
  attached.value = [];
  const documents = all.flatMap((each) => (!isPicture(each) && each.read ? [each.read] : []));
  return { images: all.filter(isPicture).map(({ url }) => url), documents };
}

/** @param {import("../core/server.js").Model} model */
function sees({ input_modalities }) {
  return input_modalities.includes("image");
}

/** @param {Iterable<File>} files */
export async function attach(files) {
  for (const file of files) {
    if (!file.type.startsWith("image/")) await attachDocument(file);
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

/** @param {File} file */
async function attachDocument(file) {
  /** @type {Sheet} */
  const sheet = { name: file.name, read: null, numPages: null, numTokens: null, notes: [] };
  attached.value = [...attached.value, sheet];
  announce(texts.attach.reads(file.name));
  try {
    /** @type {import("../../types/api.js").components["schemas"]["mlxr.DocumentObject"]} */
    const { id, markdown, num_pages, notes } = await askJson(`/v1/mlxr/documents?name=${encodeURIComponent(file.name)}`, { body: file });
    const read = { name: file.name, id, text: markdown };
    replace(sheet, { ...sheet, read, numPages: num_pages, notes });
    announce(texts.attach.attached(file.name));
    countTokens(read);
  } catch (error) {
    remove(sheet);
    complain(error);
  }
}

/** Learn what a document takes of the chosen model's context. @param {Document} read */
async function countTokens(read) {
  try {
    const input = [{ role: "user", content: [filePart(read)] }];
    const headers = { "X-Mlxr-Engine": engine.value, ...loadHeaders(chatLoad()) };
    const { input_tokens } = await askJson("/v1/responses/input_tokens", { body: { model: model.value, input }, headers });
    const now = attached.value.find((each) => !isPicture(each) && each.read?.id === read.id);
    if (now) replace(now, { ...now, numTokens: input_tokens });
  } catch (error) {
    complain(error);
  }
}

/** @param {Picture | Sheet} old @param {Picture | Sheet} now */
function replace(old, now) {
  attached.value = attached.value.map((each) => (each === old ? now : each));
}

/** @param {Picture | Sheet} what */
export function remove(what) {
  attached.value = attached.value.filter((each) => each !== what);
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
