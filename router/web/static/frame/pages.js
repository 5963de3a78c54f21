// The pages beside the chat: each with its name in the address, its icon at the side, and its code, fetched when it is opened first.

/** @type {{name: string, icon: string, load: () => Promise<() => any>}[]} */
export const PAGES = [
  { name: "compare", icon: "compare", load: async () => (await import("../compare/page.js")).ComparePage },
  { name: "models", icon: "models", load: async () => (await import("../models/page.js")).ModelsPage },
  { name: "machine", icon: "machine", load: async () => (await import("../machine/page.js")).MachinePage },
  { name: "history", icon: "history", load: async () => (await import("../history/page.js")).HistoryPage },
  { name: "settings", icon: "tune", load: async () => (await import("../settings/page.js")).SettingsPage },
];
