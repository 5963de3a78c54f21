// Small pictures on buttons; what they mean is said by the button.
import { html } from "../vendor/preact.js";

/** @type {Record<string, string>} */
const PATHS = {
  menu: "M4 6h16M4 12h16M4 18h16",
  close: "M6 6l12 12M18 6L6 18",
  plus: "M12 5v14M5 12h14",
  send: "M12 19V5M6 11l6-6 6 6",
  stop: "M7 7h10v10H7z",
  copy: "M9 9h10v10H9zM5 15V5h10",
  again: "M20 11a8 8 0 1 0-2.3 6.3M20 5v6h-6",
  edit: "M4 20h4L19 9l-4-4L4 16z",
  left: "M15 6l-6 6 6 6",
  right: "M9 6l6 6-6 6",
  down: "M12 5v14M6 13l6 6 6-6",
  tune: "M4 7h10M18 7h2M4 17h2M10 17h10M16 4v6M8 14v6",
  pin: "M9 4h6l-1 6 3 3H7l3-3zM12 13v7",
  more: "M5.5 12h.01M12 12h.01M18.5 12h.01",
  ghost: "M6 20V11a6 6 0 0 1 12 0v9l-3-2-3 2-3-2zM10 11h.01M14 11h.01",
  clip: "M8 12.5l5.5-5.5a2.8 2.8 0 0 1 4 4L10 18.5a4.6 4.6 0 0 1-6.5-6.5L10.5 5",
  turn: "M7 8h12M15 4l4 4-4 4M17 16H5M9 20l-4-4 4-4",
  branch: "M6 5v9a4 4 0 0 0 4 4h8M14 14l4 4-4 4M6 5h.01",
  compare: "M4 5h7v14H4zM13 5h7v14h-7z",
  models: "M12 3l8 4.5v9L12 21l-8-4.5v-9zM4 7.5l8 4.5 8-4.5M12 12v9",
  machine: "M3 12h4l3-7 4 14 3-7h4",
  history: "M4 20V4M4 20h16M8 15l4-5 3 3 5-7",
  chat: "M4 5h16v11H9l-5 4z",
  help: "M9 9a3 3 0 1 1 4.5 2.6c-1 .6-1.5 1.2-1.5 2.4M12 17.5v.5",
};

/** @param {{name: string}} props */
export function Icon({ name }) {
  return html`<svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false"><path d=${PATHS[name]} /></svg>`;
}
