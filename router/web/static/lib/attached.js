// What is sent with a message: pictures, and documents that the server has read. Pure but for the reading of a picture.

/** @typedef {{name: string, id: string | null, text: string}} Document `id`: by which the server has it; `text`: what it says. */

/** The longest side that is sent, in pixels: what models are shown is not larger. */
const MAX_SIDE = 1568;
const JPEG_QUALITY = 0.9;
// What is small or has few colours stays sharp.
const MAX_PNG_PIXELS = 400_000;

/** @param {number} width @param {number} height @returns {[number, number]} */
export function sizeToSend(width, height) {
  const scale = Math.min(1, MAX_SIDE / Math.max(width, height));
  return [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
}

/** A picture as it is sent: not larger than needed, and without what a camera wrote into it. @param {Blob} file @returns {Promise<string>} A data: URL. */
export async function readImage(file) {
  const picture = await createImageBitmap(file);
  const [width, height] = sizeToSend(picture.width, picture.height);
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const isPng = file.type !== "image/jpeg" && width * height <= MAX_PNG_PIXELS;
  if (!isPng) {
    context.fillStyle = "white"; // JPEG has no transparency
    context.fillRect(0, 0, width, height);
  }
  context.drawImage(picture, 0, 0, width, height);
  picture.close();
  return isPng ? canvas.toDataURL("image/png") : canvas.toDataURL("image/jpeg", JPEG_QUALITY);
}

/**
 * A user's message as the API takes it.
 *
 * @param {{text: string, images: string[], documents: Document[]}} message
 */
export function contentOf({ text, images, documents }) {
  if (images.length === 0 && documents.length === 0) return text;
  return [
    ...documents.map(filePart),
    ...images.map((image_url) => ({ type: "input_image", image_url })),
    ...(text === "" ? [] : [{ type: "input_text", text }]),
  ];
}

/** @param {Document} document */
export function filePart({ name, id, text }) {
  return { type: "input_file", filename: name, ...(id === null ? { text } : { file_id: id }) };
}

/** The parts of a kept message of a user. @param {any} item @returns {{text: string, images: string[], documents: Document[]}} */
export function partsOf({ content }) {
  /** @type {any[]} */
  const parts = Array.isArray(content) ? content : [{ type: "input_text", text: content ?? "" }];
  /** @param {string} type */
  const of = (type) => parts.filter((part) => part.type === type);
  return {
    text: of("input_text").map(({ text }) => text).join(""),
    // Those that can be shown without asking another server.
    images: of("input_image").flatMap(({ image_url }) => (image_url?.startsWith("data:image/") ? [image_url] : [])),
    documents: of("input_file").map(({ filename, text }) => ({ name: filename ?? "", id: null, text: text ?? "" })),
  };
}
