"use strict";

/* Every cell as the paired difference to one row, in place of its score. */

const FIRST = 3; // cells before the scores: choice, method, place

let scores = null; // the cells as they came
let against = -1;

function kept() {
  scores ??= ROWS.map((row) => [...row.element.cells].slice(FIRST).map((cell) => ({
    cell,
    usual: cell.className,
    nodes: [...cell.childNodes],
  })));
  return scores;
}

/** Kind of a difference: better or worse where a test says so, else grey. */
function kindOf(found) {
  if (found.dashed || !found.significant) return "d0";
  return found.value > 0 ? "better" : "worse";
}

function differenceNodes(found, unit) {
  const half = shown(found.half, unit);
  return [make("b", {}, signed(found.value, unit, 1)), " ", make("small", {}, found.dashed ? `(±${half})` : `±${half}`)];
}

function applyAgainst(reference) {
  if (reference === against) return;
  against = reference;
  kept().forEach((line, index) => line.forEach(({ cell, usual, nodes }, axis) => {
    const found = reference < 0 || index === reference ? null : difference(axis, index, reference);
    cell.replaceChildren(...(found ? differenceNodes(found, DATA.axes[axis][2]) : nodes));
    cell.className = found ? `${usual.split(" ").filter((name) => /^g\d+$|^more$/.test(name)).join(" ")} ${kindOf(found)}` : usual;
    cell.removeAttribute("title");
  }));
  document.getElementById("says").hidden = reference >= 0;
  document.getElementById("says-against").hidden = reference < 0;
}
