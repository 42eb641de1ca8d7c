/**
 * The list of runs: those that TensorBoard's own selection lets through, by folder where they are many.
 */

import { el, tellChosen } from "./elements.js";
import { PLUGIN } from "./state.js";
import { shorten } from "./text.js";

/** @import { SeriesName } from "./data.js" */
/** @import { Host } from "./host.js" */

/** From so many series on they stand by folder. */
const MANY_SERIES = 10;

/**
 * @param {string} text
 * @param {string} flags
 */
function patternOf(text, flags) {
  try {
    return text ? new RegExp(text, flags) : null;
  } catch {
    return null; // half typed
  }
}

/**
 * Which runs the dashboards of TensorBoard show, as far as its address says so: what is sought in the
 * list of runs of the time series, and what is ticked off and sought in that of the older dashboards.
 *
 * @param {{search: string, hash: string}} address
 * @returns {(run: string) => boolean}
 */
function selectionIn({ search, hash }) {
  const parts = new URLSearchParams(hash.replace(/^#/, ""));
  const sought = patternOf(new URLSearchParams(search).get("runFilter") ?? "", "i");
  const soughtBefore = patternOf(parts.get("regexInput") ?? "", "");
  /** @type {Record<string, unknown>} */
  let ticked = {};
  try {
    ticked = JSON.parse(atob(parts.get("runSelectionState") ?? "")) ?? {};
  } catch {
    // No such selection, or one of another version.
  }
  return (run) =>
    sought?.test(run) !== false &&
    soughtBefore?.test(run) !== false &&
    !(Object.hasOwn(ticked, run) && ticked[run] === false);
}

/**
 * The series of runs that TensorBoard shows; all of them where it says nothing, or hides them all.
 *
 * @param {SeriesName[]} series
 * @param {Host|null} host
 */
export function selectedSeries(series, host) {
  if (!host) return series;
  const isSelected = selectionIn(host.location);
  const selected = series.filter(({ run }) => isSelected(run));
  return selected.length ? selected : series;
}

/**
 * Series by their place, and what they are called: the run, and the tag where that tells them apart.
 *
 * @param {SeriesName[]} series
 * @returns {[value: string, text: string][]}
 */
export function seriesOptions(series) {
  /** @type {Map<string, number>} */
  const tags = new Map();
  for (const { run } of series) tags.set(run, (tags.get(run) ?? 0) + 1);
  return series.map(({ run, tag }, i) => [
    String(i),
    (run || ".") + ((tags.get(run) ?? 0) > 1 || tag !== PLUGIN ? ` · ${tag}` : ""),
  ]);
}

/** @param {string} run */
function folderOf(run) {
  return run.includes("/") ? run.slice(0, run.lastIndexOf("/")) : "";
}

/**
 * Series in their order, by folder where there are many of several folders. A folder stands where its
 * first series does.
 *
 * @param {SeriesName[]} series
 * @returns {[folder: string, places: number[]][]} The places of its series; one folder of no name where
 *   there are not many.
 */
function seriesByFolder(series) {
  /** @type {Map<string, number[]>} */
  const folders = new Map();
  series.forEach(({ run }, place) => {
    const folder = folderOf(run);
    folders.set(folder, [...(folders.get(folder) ?? []), place]);
  });
  return series.length < MANY_SERIES || folders.size < 2 ? [["", [...series.keys()]]] : [...folders];
}

/**
 * Give a list the series to choose from, by their places, and choose one.
 *
 * @param {HTMLSelectElement} select
 * @param {SeriesName[]} series
 * @param {number} hidden How many there are that TensorBoard does not show.
 * @param {string} chosen
 */
export function setSeries(select, series, hidden, chosen) {
  // Rebuilding an open list would close it under the user's hand.
  const key = JSON.stringify([series, hidden]);
  if (select.dataset.entries !== key) {
    select.dataset.entries = key;
    const labels = seriesOptions(series).map(([, text]) => text);
    const option = (/** @type {number} */ place) => {
      const label = labels[place];
      return el("option", { value: String(place), textContent: shorten(label), title: label });
    };
    const groups = seriesByFolder(series).flatMap(([folder, places]) => {
      const options = places.map(option);
      return folder ? [el("optgroup", { label: shorten(folder) }, ...options)] : options;
    });
    const runs = `${hidden} more ${hidden === 1 ? "is" : "are"}`;
    const note = `${runs} hidden by TensorBoard's selection of runs`;
    if (hidden) groups.push(el("option", { disabled: true, textContent: note }));
    select.replaceChildren(...groups);
  }
  if (select.value !== chosen) select.value = chosen;
  tellChosen(select, seriesOptions(series)[Number(chosen)]?.[1] ?? "");
}
