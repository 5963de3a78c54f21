// Runs of the benchmark as lines: one figure of one scenario, run by run. Pure.

/**
 * @typedef {import("../lib/figures.js").Run} Run
 * @typedef {import("../lib/figures.js").Figure} Figure
 * @typedef {{label: string, values: (Figure | null)[]}} TrendLine
 * @typedef {{runs: Run[], lines: TrendLine[]}} Trend
 */

/** Scenarios that any of the runs has figures of, by name. @param {readonly Run[]} runs @returns {string[]} */
export function scenariosOf(runs) {
  const names = runs.flatMap((run) => run.summary.scenarios.filter(({ skipped }) => (skipped ?? null) === null).map(({ name }) => name));
  return [...new Set(names)];
}

/** Names of the figures of a scenario that any of the runs has. @param {readonly Run[]} runs @param {string} scenario @returns {string[]} */
export function figuresOf(runs, scenario) {
  const names = runs.flatMap((run) =>
    (scenarioIn(run, scenario)?.contestants ?? []).flatMap(({ figures }) => Object.keys(figures).filter((name) => (figures[name].value ?? null) !== null)),
  );
  return [...new Set(names)];
}

/** @param {Run} run @param {string} name */
const scenarioIn = (run, name) => run.summary.scenarios.find((each) => each.name === name && !each.is_void) ?? null;

/**
 * One figure over runs, oldest first, a line per contestant; runs without it are left out.
 *
 * @param {readonly Run[]} runs @param {string} scenario @param {string} figure @returns {Trend}
 */
export function trendOf(runs, scenario, figure) {
  const rows = [...runs]
    .sort((one, other) => one.created_at - other.created_at)
    .map((run) => ({ run, found: foundIn(run, scenario, figure) }))
    .filter(({ found }) => found.size > 0);
  const labels = [...new Set(rows.flatMap(({ found }) => [...found.keys()]))];
  return { runs: rows.map(({ run }) => run), lines: labels.map((label) => ({ label, values: rows.map(({ found }) => found.get(label) ?? null) })) };
}

/** @param {Run} run @param {string} scenario @param {string} name @returns {Map<string, Figure>} By the contestant's label. */
function foundIn(run, scenario, name) {
  const found = new Map();
  for (const { contestant, figures } of scenarioIn(run, scenario)?.contestants ?? []) {
    if ((figures[name]?.value ?? null) !== null) found.set(run.contestants[contestant].label, figures[name]);
  }
  return found;
}
