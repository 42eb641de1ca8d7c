/**
 * One probe in all runs: a row for each run, and columns of steps that they have in common.
 */

import { seriesKey } from "./data.js";
import { el, iconButton, setAttribute, setText } from "./elements.js";
import { largest, nearestIndex } from "./numbers.js";
import { FRAME } from "./pictures.js";
import { Side } from "./scene.js";
import { seriesOptions } from "./series_list.js";
import { number, percent, shorten, whole } from "./text.js";

/** @import { Evolution, SeriesName } from "./data.js" */
/** @import { Scene, Verbs } from "./scene.js" */

/** How many columns there are at most. */
const COLUMNS = 8;

/**
 * A run, as far as it is loaded.
 *
 * @typedef {object} RunRow
 * @property {SeriesName} name
 * @property {Evolution|null} evolution
 * @property {string|null} problem Why it cannot be loaded.
 */

/**
 * Steps spread evenly from the first to the last of all runs.
 *
 * @param {Evolution[]} evolutions
 */
function commonSteps(evolutions) {
  const first = Math.min(...evolutions.map(({ numbers }) => numbers[0]));
  const last = Math.max(...evolutions.map(({ numbers }) => numbers[numbers.length - 1]));
  const most = Math.max(...evolutions.map(({ length }) => length));
  const count = last > first ? Math.min(COLUMNS, Math.max(2, most)) : 1;
  return Array.from({ length: count }, (_, i) =>
    count > 1 ? first + ((last - first) * i) / (count - 1) : first,
  );
}

/**
 * For each of the common steps the nearest step of a run, null where it has none that is nearer to it
 * than to the next.
 *
 * @param {number[]} steps
 * @param {number[]} numbers Those of the run.
 */
function nearestSteps(steps, numbers) {
  return steps.map((step) => {
    const index = nearestIndex(numbers, step);
    return nearestIndex(steps, numbers[index]) === steps.indexOf(step) ? index : null;
  });
}

/**
 * A scene of one run in which 100 % of the colour scale is the same for all runs.
 *
 * @param {Scene} scene
 * @param {Side} side
 * @param {number} full The largest balance that is 100 %.
 */
function onOneScale(scene, side, full) {
  const share = (/** @type {Side} */ of, /** @type {number} */ probe) =>
    scene.scale === "map" ? 1 : full > 0 ? of.strength(probe) / full : 0;
  return /** @type {Scene} */ (
    Object.create(scene, { a: { value: side }, b: { value: null }, share: { value: share } })
  );
}

/**
 * What full colour stands for, in words.
 *
 * @param {Scene} scene
 */
function scaleText({ scale, signed }) {
  const sign = signed ? "Green speaks for the class, pink against it. " : "";
  if (scale === "map") return `${sign}Colour: each map on its own scale, so strengths do not compare.`;
  const of = scale === "probe" ? "this probe's largest balance" : "the largest balance";
  return `${sign}Colour: one scale for all rows. 100 % is a map's maximum at ${of} in any run shown.`;
}

/** A cell that is a step of a run. */
class Cell {
  /**
   * @param {Verbs} verbs
   * @param {Evolution} evolution
   * @param {number} index Of the step.
   * @param {number} place Of the probe.
   */
  constructor({ show }, evolution, index, place) {
    this.index = index;
    this.drawn = "";
    this.canvas = el("canvas", { width: 1, height: 1 });
    const { run, tag } = evolution;
    const step = String(evolution.numbers[index]);
    this.label = `${run || "."}, step ${whole(Number(step))}`;
    this.node = el(
      "button",
      {
        tabIndex: -1,
        title: this.label,
        "aria-label": `Go to ${this.label}`,
        on: { click: () => show({ run, tag, step, probe: String(place), view: "" }) },
      },
      this.canvas,
    );
  }
}

/** A row: what is said of the run, and its cells. */
class RunLine {
  /** @param {number} place Among all rows. */
  constructor(place) {
    this.visible = false;
    this.name = el("span", { className: "run-name" });
    this.numbers = el("span", { className: "run-numbers" });
    this.head = el("th", { scope: "row" }, this.name, this.numbers);
    this.node = el("tr", { "data-row": place }, this.head);
    /** @type {(Cell|null)[]} */
    this.cells = [];
    /** Stands for what it consists of. */
    this.built = "";
  }

  /**
   * @param {Verbs} verbs
   * @param {Scene} scene
   * @param {number} probe One of A's.
   * @param {RunRow} row
   * @param {number[]} steps The columns.
   * @param {string} label
   */
  build(verbs, scene, probe, { evolution, problem }, steps, label) {
    const isHere = evolution?.as(scene.role);
    const of = isHere ?? (evolution?.roles.includes(scene.role) ? null : evolution);
    const side = of && new Side(of, of.length - 1, scene.a.evolution);
    const place = side?.place(probe) ?? null;
    const whose = [label, scene.role, scene.signed, of?.length, of?.numbers.at(-1)];
    const key = JSON.stringify([probe, place, problem, steps, whose]);
    this.side = side;
    this.place = place;
    if (key === this.built) return;
    this.built = key;
    setText(this.name, shorten(label));
    this.head.title = label;
    const lacksRole = scene.role && evolution && !evolution.roles.includes(scene.role);
    const says =
      problem ??
      (!of || !side ? "waiting" : place === null ? "no such probe" : lacksRole ? `no map of ${scene.role}` : null);
    setText(this.numbers, says ?? finalNumbers(scene, side, place ?? 0));
    this.cells = [];
    if (says !== null || !of || place === null) {
      const text = { waiting: "Loading …", "no such probe": "This run does not have the probe." };
      const told = Object.hasOwn(text, says ?? "") ? text[/** @type {keyof text} */ (says)] : (says ?? "");
      this.node.replaceChildren(
        this.head,
        el("td", { colSpan: steps.length, className: "told" }, shorten(told, 200)),
      );
      return;
    }
    this.cells = nearestSteps(steps, of.numbers).map((index) =>
      index === null ? null : new Cell(verbs, of, index, place),
    );
    const gap = () => el("span", { className: "gap", title: "No step near this one" }, "–");
    this.node.replaceChildren(
      this.head,
      ...this.cells.map((cell) => el("td", {}, cell ? cell.node : gap())),
    );
  }

  /**
   * @param {Scene} scene
   * @param {number} full
   */
  draw(scene, full) {
    const { side, place } = this;
    if (!this.visible || !side || place === null || place === undefined) return;
    const picture = scene.pictures.get(side.evolution, place);
    if (!picture) return;
    const look = JSON.stringify([scene.tables.key, scene.scale, scene.signed, full]);
    for (const cell of this.cells) {
      if (!cell || cell.drawn === look) continue;
      const then = onOneScale(scene, new Side(side.evolution, cell.index), full);
      then.overlay(cell.canvas, picture, FRAME, then.a, place);
      cell.drawn = then.arrived(then.a) ? look : "";
    }
  }
}

/**
 * What a run came to, in a line.
 *
 * @param {Scene} scene
 * @param {Side|null} side At the newest step.
 * @param {number} place
 */
function finalNumbers(scene, side, place) {
  if (!side) return "";
  const { evolution, index } = side;
  const probability = evolution.at("probabilities", index, place);
  const score = evolution.at("scores", index, place);
  const words = [`step ${whole(evolution.numbers[index])}`];
  if (evolution.hasClasses && probability !== null) {
    const name = evolution.className(evolution.at("classes", index, place));
    words.push(`${shorten(name, 24)} ${percent(probability)}`);
  } else if (score !== null) words.push(number(score));
  if (scene.signed && !evolution.explained.signedRoles.includes(evolution.role))
    words.push("against: not recorded");
  return words.join(" · ");
}

export class RunGrid {
  /**
   * @param {Verbs} verbs
   * @param {Element} root What it stands in while it is open.
   * @param {(rows: SeriesName[]) => void} want Called with the runs that are in sight.
   */
  constructor(verbs, root, want) {
    this.verbs = verbs;
    this.root = root;
    /** @type {Scene|null} */
    this.scene = null;
    /** @type {RunRow[]} */
    this.of = [];
    /** @type {RunLine[]} */
    this.rows = [];
    /** Stands for the runs of the rows. */
    this.arranged = "";
    this.title = el("h2", { id: "run-grid-title", dir: "auto" });
    this.progress = el("p", { className: "run-progress", role: "status" });
    this.scale = el("p", { className: "run-scale" });
    this.columns = el("tr");
    this.body = el("tbody");
    this.table = el(
      "table",
      { role: "grid", "aria-labelledby": "run-grid-title" },
      el("thead", {}, this.columns),
      this.body,
    );
    this.scroller = el("div", { className: "run-scroller", tabIndex: -1 }, this.table);
    this.node = el(
      "dialog",
      {
        className: "run-grid",
        "aria-labelledby": "run-grid-title",
        on: {
          close: () => {
            this.node.remove();
            verbs.show({ view: "" });
          },
        },
      },
      el(
        "header",
        {},
        this.title,
        iconButton("before", "Previous probe", () => this.turn(-1)),
        iconButton("after", "Next probe", () => this.turn(1)),
        iconButton("close", "Close (escape)", () => this.node.close()),
      ),
      this.scale,
      this.progress,
      this.scroller,
    );
    this.node.addEventListener("click", (event) => event.target === this.node && this.node.close());
    this.table.addEventListener("keydown", (event) => this.key(event));
    this.seen = new IntersectionObserver(
      (entries) => {
        for (const { target, isIntersecting } of entries) {
          const { row } = /** @type {HTMLElement} */ (target).dataset;
          this.rows[Number(row)].visible = isIntersecting;
        }
        want(this.of.filter((_, i) => this.rows[i]?.visible).map(({ name }) => name));
        verbs.show();
      },
      { root: this.scroller, rootMargin: "100px" },
    );
  }

  /**
   * Go to a neighbour in the gallery's order.
   *
   * @param {number} by
   */
  turn(by) {
    if (!this.scene) return;
    const { order } = this.scene;
    const next = order.indexOf(this.probeOf(this.scene)) + by;
    if (next >= 0 && next < order.length) this.verbs.show({ probe: String(order[next]) });
  }

  /** @param {Scene} scene */
  probeOf({ probe, order }) {
    return probe ?? order[0] ?? 0;
  }

  /**
   * Move between cells.
   *
   * @param {KeyboardEvent} event
   */
  key(event) {
    const cells = this.rows.map(({ cells: ofRow }) => ofRow);
    const row = cells.findIndex((ofRow) => ofRow.some((cell) => cell?.node === event.target));
    if (row < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
    const column = cells[row].findIndex((cell) => cell?.node === event.target);
    const along = (/** @type {number} */ by) => {
      for (let i = column + by; i >= 0 && i < cells[row].length; i += by)
        if (cells[row][i]) return cells[row][i];
      return null;
    };
    const across = (/** @type {number} */ by) => {
      for (let i = row + by; i >= 0 && i < cells.length; i += by)
        if (cells[i][column]) return cells[i][column];
      return null;
    };
    /** @type {Record<string, () => Cell|null|undefined>} */
    const moves = {
      ArrowLeft: () => along(-1),
      ArrowRight: () => along(1),
      ArrowUp: () => across(-1),
      ArrowDown: () => across(1),
      Home: () => cells[row].find(Boolean),
      End: () => cells[row].findLast(Boolean),
    };
    if (!Object.hasOwn(moves, event.key)) return;
    // On the page these keys change the step.
    event.preventDefault();
    event.stopPropagation();
    this.focus(moves[event.key]() ?? null);
  }

  /** @param {Cell|null} cell */
  focus(cell) {
    if (!cell) return;
    this.table.querySelector("button[tabindex='0']")?.setAttribute("tabindex", "-1");
    cell.node.tabIndex = 0;
    cell.node.focus();
  }

  /**
   * @param {Scene} scene
   * @param {RunRow[]} of All runs.
   */
  draw(scene, of) {
    this.scene = scene;
    if (scene.state.view !== "runs") {
      if (this.node.open) this.node.close();
      return;
    }
    const loaded = of.flatMap(({ evolution }) => (evolution ? [evolution] : []));
    if (!loaded.length) return;
    this.of = of;
    if (!this.node.open) {
      this.root.append(this.node);
      this.node.showModal();
    }
    const probe = this.probeOf(scene);
    const name = scene.a.evolution.names[probe];
    setText(this.title, `${shorten(name, 200)} in all runs`);
    setText(this.scale, scaleText(scene));
    const left = of.filter((row, i) => this.rows[i]?.visible && !row.evolution && !row.problem);
    setText(this.progress, left.length ? `Loading: ${loaded.length} of ${of.length} runs are here` : "");
    this.arrange(of.map(({ name }) => seriesKey(name)).join());
    const steps = commonSteps(loaded);
    this.drawColumns(steps);
    const labels = seriesOptions(of.map((row) => row.name));
    this.rows.forEach((row, i) =>
      row.build(this.verbs, scene, probe, of[i], steps, labels[i][1]),
    );
    const full = this.fullOf(scene);
    for (const row of this.rows) row.draw(scene, full);
    if (!this.table.querySelector("button[tabindex='0']")) {
      const first = this.table.querySelector("td button");
      if (first) setAttribute(first, "tabindex", "0");
    }
  }

  /**
   * The balance that 100 % of the colour scale stands for: the largest of all runs that are here.
   *
   * @param {Scene} scene
   */
  fullOf({ scale }) {
    return largest(
      this.rows.map(({ side, place }) => {
        const known = side && place !== null && place !== undefined;
        return known && scale !== "map" ? side.evolution.full(side.index, place, scale) : null;
      }),
    );
  }

  /** @param {string} names Stands for the runs. */
  arrange(names) {
    if (this.arranged === names) return;
    this.arranged = names;
    this.seen.disconnect();
    this.rows = this.of.map((_, i) => new RunLine(i));
    this.body.replaceChildren(...this.rows.map(({ node }) => node));
    for (const { node } of this.rows) this.seen.observe(node);
  }

  /** @param {number[]} steps */
  drawColumns(steps) {
    const texts = steps.map((step) => whole(Math.round(step)));
    if (this.columns.dataset.steps === texts.join()) return;
    this.columns.dataset.steps = texts.join();
    const title = "The nearest logged step of each run";
    this.columns.replaceChildren(
      el("th", { scope: "col" }, "Run"),
      ...texts.map((text) => el("th", { scope: "col", title }, `≈ ${text}`)),
    );
  }
}
