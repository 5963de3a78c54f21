// Lines on a canvas, drawn by uPlot, which is fetched with the first chart. What is in one stands in a table beside it.
import { html, useEffect, useRef } from "../vendor/preact.js";
import { theme } from "../core/settings.js";

/**
 * @typedef {object} Line
 * @property {string} label
 * @property {string} colour Name of a variable of style/base.css.
 * @property {number[]} [dash] So that lines differ without their colours.
 * @property {boolean} [hasPoints]
 * @property {boolean} [isBound] A bound of an interval: thin.
 * @typedef {{at: number, label: string}} Mark Something that happened, at a place of the horizontal axis.
 * @typedef {(number | null | undefined)[][]} Data The horizontal axis, then one row per line; a line is broken at null, not at undefined.
 * @typedef {object} Props
 * @property {string} label Of the chart.
 * @property {Data} data
 * @property {Line[]} lines
 * @property {(value: number) => string} format Of the vertical axis.
 * @property {((value: number) => string)} [name] Of the horizontal axis; seconds since 1970 without it.
 * @property {Mark[]} [marks]
 * @property {{above: number, below: number, colour: string}[]} [bands] Between two lines, by their numbers from 1.
 * @property {number} [height] Pixels.
 */

/** @type {Promise<typeof import("../vendor/uplot.js").uPlot> | null} */
let loading = null;

function library() {
  if (loading === null) {
    const style = document.createElement("link");
    style.rel = "stylesheet";
    style.href = new URL("../vendor/uplot.css", import.meta.url).href;
    document.head.append(style);
    loading = import("../vendor/uplot.js").then(({ uPlot }) => uPlot);
  }
  return loading;
}

/** Colours as a canvas takes them. @param {HTMLElement} place @returns {(name: string, alpha?: number) => string} */
function paint(place) {
  const probe = document.createElement("span");
  place.append(probe);
  /** @type {Map<string, string>} */
  const known = new Map();
  return (name, alpha = 1) => {
    probe.style.color = `var(${name})`;
    const colour = known.get(name) ?? getComputedStyle(probe).color;
    known.set(name, colour);
    return alpha === 1 ? colour : colour.replace(/^rgb\((.*)\)$/, `rgba($1, ${alpha})`);
  };
}

/** @param {Props} props */
export function Chart(props) {
  const place = useRef(/** @type {HTMLElement | null} */ (null));
  const drawn = useRef(/** @type {any} */ (null));
  const latest = useRef(props);
  latest.current = props;
  const look = JSON.stringify([props.lines, props.bands, theme.value]);
  useEffect(() => {
    const element = /** @type {HTMLElement} */ (place.current);
    let isGone = false;
    const isDark = matchMedia("(prefers-color-scheme: dark)");
    const draw = () =>
      library().then((uPlot) => {
        if (isGone) return;
        drawn.current?.destroy();
        element.replaceChildren();
        drawn.current = new uPlot(optionsOf(latest, element), /** @type {any} */ (latest.current.data), element);
      });
    const fit = new ResizeObserver(() => drawn.current?.setSize({ width: element.clientWidth, height: latest.current.height ?? 220 }));
    draw();
    fit.observe(element);
    isDark.addEventListener("change", draw);
    return () => {
      isGone = true;
      fit.disconnect();
      isDark.removeEventListener("change", draw);
      drawn.current?.destroy();
      drawn.current = null;
    };
  }, [look]);
  useEffect(() => drawn.current?.setData(props.data), [props.data]);
  return html`<div class="chart" role="img" aria-label=${props.label} ref=${place}></div>`;
}

/** @param {{current: Props}} latest @param {HTMLElement} element @returns {any} */
function optionsOf(latest, element) {
  const { lines, bands, format, name, height = 220 } = latest.current;
  const colour = paint(element);
  const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 }, font: "12px system-ui, sans-serif" };
  return {
    width: element.clientWidth,
    height,
    padding: [12, name ? 44 : 12, 0, null],
    cursor: { drag: { setScale: false } },
    scales: { x: { time: name === undefined } },
    series: [
      name ? { value: (/** @type {any} */ _, /** @type {number | null} */ at) => (at === null ? "" : name(at)), label: "" } : { label: "" },
      ...lines.map((line) => ({
        label: line.label,
        class: line.isBound ? "bound" : null,
        stroke: colour(line.colour, line.isBound ? 0.4 : 1),
        width: line.isBound ? 1 : 2,
        dash: line.dash,
        points: line.hasPoints ? { show: true, size: 7 } : {},
        value: (/** @type {any} */ _, /** @type {number | null} */ value) => (value === null ? "" : format(value)),
      })),
    ],
    bands: bands?.map(({ above, below, colour: each }) => ({ series: [above, below], fill: colour(each, 0.12) })),
    axes: [
      name ? { ...axis, values: (/** @type {any} */ _, /** @type {number[]} */ at) => at.map((each) => (Number.isInteger(each) ? name(each) : "")) } : axis,
      { ...axis, size: (/** @type {any} */ _, /** @type {string[] | null} */ values) => 20 + 7 * Math.max(...(values ?? [""]).map((each) => each.length)), values: (/** @type {any} */ _, /** @type {number[]} */ values) => values.map(format) },
    ],
    hooks: { draw: [(/** @type {any} */ plot) => drawMarks(plot, latest.current.marks ?? [], colour("--warn"))] },
  };
}

/** @param {any} plot @param {Mark[]} marks @param {string} colour */
function drawMarks(plot, marks, colour) {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.strokeStyle = ctx.fillStyle = colour;
  ctx.setLineDash([4, 3]);
  ctx.textAlign = "left";
  ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
  marks.forEach(({ at, label }, number) => {
    const x = plot.valToPos(at, "x", true);
    if (x < bbox.left || x > bbox.left + bbox.width) return;
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    // Marks that follow each other closely have their words at different heights.
    const { width } = ctx.measureText(label);
    ctx.fillText(label, x + 4 + width > bbox.left + bbox.width ? x - 4 - width : x + 4, bbox.top + (12 + 14 * (number % 3)) * devicePixelRatio);
  });
  ctx.restore();
}
