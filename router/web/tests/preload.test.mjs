import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import path from "node:path";
import test from "node:test";

const STATIC = new URL("../static/", import.meta.url).pathname;
const IMPORT = /^(?:import|export)\s[^;]*?from "(\.[^"]+)"/gm;

/** All modules that a module needs before it runs, by their paths below /ui/. */
async function needs(name, found = new Set()) {
  if (found.has(name)) return found;
  found.add(name);
  if (name.startsWith("vendor/")) return found;
  for (const [, to] of (await readFile(path.join(STATIC, name), "utf8")).matchAll(IMPORT)) await needs(path.join(path.dirname(name), to), found);
  return found;
}

test("the page names all modules that it needs at first, so that none is found only by reading another", async () => {
  const page = await readFile(path.join(STATIC, "index.html"), "utf8");
  const named = [...page.matchAll(/<link rel="modulepreload" href="\/ui\/([^"]+)">/g)].map(([, name]) => name);
  assert.deepEqual(named.sort(), [...(await needs("app.js"))].filter((name) => name !== "app.js").sort());
});
