// What goes with the next message, chosen, pasted or dropped: pictures, if all who are asked see, and documents.
import { computed, effect, signal } from "../vendor/preact.js";
import { friendlyName } from "../lib/format.js";
import { filePart, readImage } from "../lib/attached.js";
import { askJson } from "../core/api.js";
import { loadHeaders, models } from "../core/server.js";
import { announce, complain } from "../core/status.js";
import { texts } from "../core/texts.js";

/**
 * @template T @typedef {import("../vendor/preact.js").ReadonlySignal<T>} ReadonlySignal
 */
/**
 * @typedef {import("../lib/attached.js").Document} Document
 * @typedef {{images: string[], documents: Document[]}} Attached As it goes with a message.
 * @typedef {object} Reader Who will be shown what is attached.
 * @property {string} model
 * @property {string} engine
 * @property {string} load As X-Mlxr-Load has it; empty = as it is set.
 * @property {number | null} contextLength In tokens; null = not known.
 * @property {string} [name] By which it is told from others.
 *
 * @typedef {{name: string, url: string}} Picture
 * @typedef {object} Sheet A document on its way.
 * @property {string} name
 * @property {Document | null} read null = it is being read.
 * @property {number | null} numPages
 * @property {string[]} notes
 */

/** @param {Picture | Sheet} each @returns {each is Picture} */
export const isPicture = (each) => "url" in each;

/** @param {Document} read @param {Reader} reader */
const keyOf = ({ id }, { model, engine, load }) => `${id} ${model} ${engine} ${load}`;

/** @param {import("../core/server.js").Model} model */
const sees = ({ input_modalities }) => input_modalities.includes("image");

/** @param {import("../core/server.js").Model} model */
const nameOf = ({ id }) => friendlyName(id);

export class Attachments {
  /** Tokens of documents by who counted them; null = they are being counted, or nobody can. @type {Map<string, number | null>} */
  #counts = new Map();
  /** Changes with them. */
  #numCounted = signal(0);

  /**
   * @param {ReadonlySignal<Reader[]>} readers
   * @param {ReadonlySignal<Reader | null>} counter Who counts a document's tokens, and is loaded for that; null = nobody now.
   */
  constructor(readers, counter) {
    this.readers = readers;
    this.counter = counter;
    /** @type {import("../vendor/preact.js").Signal<(Picture | Sheet)[]>} */
    this.all = signal([]);
    /** Why pictures cannot be shown to all who are asked; null = they can. */
    this.blindness = computed(() => {
      const asked = new Set(readers.value.map(({ model }) => model));
      const blind = (models.value ?? []).filter((each) => asked.has(each.id) && !sees(each));
      if (blind.length === 0) return null;
      const others = (models.value ?? []).filter(sees);
      return texts.attach.cannotSee(blind.map(nameOf), others.map(nameOf));
    });
    /** Why what is attached cannot be sent now; null = it can, or waits for nothing. */
    this.obstacle = computed(() => (this.all.value.some(isPicture) ? this.blindness.value : null));
    /** Whether sending has to wait. */
    this.isHeld = computed(() => this.obstacle.value !== null || this.all.value.some((each) => !isPicture(each) && each.read === null));
    /** What an element needs so that files can be dropped on it. */
    this.dropping = {
      /** @param {DragEvent} event */
      onDragOver: (event) => {
        if (event.dataTransfer?.types.includes("Files")) event.preventDefault();
      },
      onDrop: (/** @type {DragEvent} */ event) => this.#takeFrom(event, event.dataTransfer),
    };
    this.onPaste = (/** @type {ClipboardEvent} */ event) => this.#takeFrom(event, event.clipboardData);
    effect(() => {
      const counts = counter.value;
      if (counts === null) return;
      for (const each of this.all.value) if (!isPicture(each) && each.read) this.#count(each.read, counts);
    });
  }

  /** Take what is attached away, to send it. @returns {Attached} */
  take() {
    const all = this.all.value;
    this.all.value = [];
    const documents = all.flatMap((each) => (!isPicture(each) && each.read ? [each.read] : []));
    return { images: all.filter(isPicture).map(({ url }) => url), documents };
  }

  /** @param {Iterable<File>} files */
  async attach(files) {
    for (const file of files) {
      if (!file.type.startsWith("image/")) await this.#attachDocument(file);
      else if (this.blindness.value !== null) complain(this.blindness.value);
      else await this.#attachPicture(file);
    }
  }

  /** @param {Picture | Sheet} what */
  remove(what) {
    this.all.value = this.all.value.filter((each) => each !== what);
  }

  /**
   * What a document takes of the context, of the shortest one where the model has several.
   *
   * @param {Sheet} sheet @returns {{numTokens: number, share: number, of: string | null} | null} null = not counted yet, or not known.
   */
  countOf({ read }) {
    this.#numCounted.value;
    const counter = this.counter.value;
    const numTokens = counter && read ? (this.#counts.get(keyOf(read, counter)) ?? null) : null;
    if (counter === null || numTokens === null) return null;
    // Others of the same model see the same tokens.
    const all = this.readers.value;
    const [least] = all.filter((each) => each.model === counter.model && each.contextLength).sort((a, b) => Number(a.contextLength) - Number(b.contextLength));
    if (!least) return null;
    const isOfAll = all.every((each) => each.model === least.model && each.contextLength === least.contextLength);
    return { numTokens, share: numTokens / Number(least.contextLength), of: isOfAll ? null : (least.name ?? null) };
  }

  /** @param {Event} event @param {DataTransfer | null} from */
  #takeFrom(event, from) {
    const files = [...(from?.files ?? [])];
    if (files.length === 0) return;
    event.preventDefault();
    this.attach(files);
  }

  /** @param {File} file */
  async #attachPicture(file) {
    try {
      const url = await readImage(file);
      this.all.value = [...this.all.value, { name: file.name, url }];
      announce(texts.attach.attached(file.name));
    } catch {
      complain(texts.attach.unreadable(file.name));
    }
  }

  /** @param {File} file */
  async #attachDocument(file) {
    /** @type {Sheet} */
    const sheet = { name: file.name, read: null, numPages: null, notes: [] };
    this.all.value = [...this.all.value, sheet];
    announce(texts.attach.reads(file.name));
    try {
      /** @type {import("../../types/api.js").components["schemas"]["mlxr.DocumentObject"]} */
      const { id, markdown, num_pages, notes } = await askJson(`/v1/mlxr/documents?name=${encodeURIComponent(file.name)}`, { body: file });
      this.#replace(sheet, { ...sheet, read: { name: file.name, id, text: markdown }, numPages: num_pages, notes });
      announce(texts.attach.attached(file.name));
    } catch (error) {
      this.remove(sheet);
      complain(error);
    }
  }

  /** Learn once what a document takes of a reader's context. @param {Document} read @param {Reader} reader */
  async #count(read, reader) {
    const key = keyOf(read, reader);
    if (this.#counts.has(key)) return;
    this.#counts.set(key, null);
    try {
      const input = [{ role: "user", content: [filePart(read)] }];
      const headers = { "X-Mlxr-Engine": reader.engine, ...loadHeaders(reader.load) };
      const { input_tokens } = await askJson("/v1/responses/input_tokens", { body: { model: reader.model, input }, headers });
      this.#counts.set(key, input_tokens);
      this.#numCounted.value += 1;
    } catch (error) {
      complain(error);
    }
  }

  /** @param {Picture | Sheet} old @param {Picture | Sheet} now */
  #replace(old, now) {
    this.all.value = this.all.value.map((each) => (each === old ? now : each));
  }
}
