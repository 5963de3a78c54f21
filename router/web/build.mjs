// Build each library into one file of vendor/, the same bytes each time. Run by scripts/web.
import { build } from "esbuild";
import { copyFile, mkdir, readFile, readdir, rename, rm, writeFile } from "node:fs/promises";
import path from "node:path";

const here = import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname);
const made = path.join(here, "vendor.new");
const target = path.join(here, "vendor");

/** Licences of all packages that are in the files, with their texts. */
async function licences(inputs) {
  const folders = new Set(inputs.map((file) => file.match(/^node_modules\/(?:@[^/]+\/)?[^/]+/)?.[0]).filter(Boolean));
  const texts = [];
  for (const folder of [...folders, "node_modules/katex"].sort().filter((each, place, all) => all.indexOf(each) === place)) {
    const { name, version, license } = JSON.parse(await readFile(path.join(here, folder, "package.json"), "utf8"));
    const file = (await readdir(path.join(here, folder))).find((each) => /^licen[cs]e/i.test(each));
    const text = file ? await readFile(path.join(here, folder, file), "utf8") : "";
    texts.push(`${name} ${version} (${license})\n\n${text.trim()}\n`);
  }
  return texts.join(`\n${"-".repeat(80)}\n\n`);
}

async function copyKatexStyle() {
  const source = path.join(here, "node_modules/katex/dist");
  // Browsers that know CSS grid know woff2: the other two forms of each font are left out.
  const style = await readFile(path.join(source, "katex.min.css"), "utf8");
  const lean = style.replace(/,url\([^)]*\.(?:woff|ttf)\) format\("[a-z]+"\)/g, "");
  await writeFile(path.join(made, "katex.css"), lean);
  await mkdir(path.join(made, "fonts"));
  for (const font of await readdir(path.join(source, "fonts"))) {
    if (font.endsWith(".woff2")) await copyFile(path.join(source, "fonts", font), path.join(made, "fonts", font));
  }
}

await rm(made, { recursive: true, force: true });
await mkdir(made);
const entries = (await readdir(path.join(here, "libraries"))).sort().map((name) => path.join("libraries", name));
const result = await build({
  absWorkingDir: here,
  entryPoints: entries,
  outdir: made,
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  legalComments: "none",
  metafile: true,
  logLevel: "warning",
});
await copyKatexStyle();
await copyFile(path.join(here, "node_modules/uplot/dist/uPlot.min.css"), path.join(made, "uplot.css"));
await writeFile(path.join(made, "LICENSES.txt"), await licences(Object.keys(result.metafile.inputs)));
await rm(target, { recursive: true, force: true });
await rename(made, target);
