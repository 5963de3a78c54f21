// Pictures that are sent with a message. Pure but for the reading of one.

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
 * @param {string} text @param {string[]} images data: URLs.
 */
export function contentOf(text, images) {
  if (images.length === 0) return text;
  const parts = images.map((image_url) => ({ type: "input_image", image_url }));
  return text === "" ? parts : [...parts, { type: "input_text", text }];
}

/** The pictures of a kept message that can be shown without asking another server. @param {any} item @returns {string[]} */
export function imagesOf(item) {
  if (!Array.isArray(item.content)) return [];
  return item.content.map((/** @type {any} */ part) => part.image_url).filter((/** @type {unknown} */ url) => typeof url === "string" && url.startsWith("data:image/"));
}
