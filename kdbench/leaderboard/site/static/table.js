"use strict";

/* Sorting, filtering and choosing: the rows are in the page, their numbers in DATA in the same order. */

const table = document.getElementById("board");
const body = table.tBodies[0];
const ROWS = DATA.rows.map(([key, title, family, meanRank, cells], index) => ({
  key,
  title,
  family,
  meanRank,
  cells,
  index,
  element: body.rows[index],
  box: body.rows[index].querySelector("input"),
  text: `${title} ${family}`.toLowerCase(),
  flagged: cells.some((cell) => cell && cell[3]),
}));
const BY_KEY = new Map(ROWS.map((row) => [row.key, row]));
const HEADS = [...table.tHead.querySelectorAll("th[data-column]")];
const AXIS = new Map(DATA.axes.map(([key], index) => [key, index]));
const NAMES = new Intl.Collator("en", { numeric: true });

/** Whether a column begins with its best when it is sorted upwards. */
function ascendingIsBest(column) {
  const axis = AXIS.get(column);
  return axis === undefined || !DATA.axes[axis][3];
}

/** Numbers that sort a column best first: what is missing is NaN, a flagged score comes after all others. */
function goodness(column) {
  if (column === "rank") return ROWS.map((row) => (row.meanRank === null ? NaN : -row.meanRank));
  const axis = AXIS.get(column);
  const sign = DATA.axes[axis][3] ? 1 : -1;
  return ROWS.map((row) => (row.cells[axis] ? sign * row.cells[axis][0] - (row.cells[axis][3] ? 1e12 : 0) : NaN));
}

function sorted(found, column, direction) {
  const rows = [...found];
  if (column === "method") {
    rows.sort((a, b) => NAMES.compare(a.title, b.title) || a.index - b.index);
    return direction === "desc" ? rows.reverse() : rows;
  }
  const good = goodness(column);
  const sign = (direction === "asc") === ascendingIsBest(column) ? 1 : -1;
  return rows.sort((a, b) => {
    const [x, y] = [good[a.index], good[b.index]];
    if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y) || a.index - b.index;
    return sign * (y - x) || a.index - b.index;
  });
}

function applySort(column, direction) {
  for (const head of HEADS) {
    if (head.dataset.column === column) {
      head.setAttribute("aria-sort", direction === "asc" ? "ascending" : "descending");
    } else head.removeAttribute("aria-sort");
  }
}

/** The rows that the filters let through. */
function fitting({ words, family, flags }) {
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  return ROWS.filter(
    (row) =>
      wanted.every((word) => row.text.includes(word)) &&
      (!family || row.family === family) &&
      (!flags || row.flagged === (flags === "with")),
  );
}

/** Only rows that are shown are in the page: laying out a thousand would take a second at each sort. */
function applyRows(found, { column, direction, limit }) {
  const first = sorted(found, column, direction).slice(0, limit);
  applyBars(first);
  const rows = first.map((row) => row.element);
  if (rows.length !== body.rows.length || rows.some((row, index) => row !== body.rows[index])) {
    body.replaceChildren(...rows);
  }
  const said = `${found.length} of ${ROWS.length} methods${found.length > limit ? `, ${limit} shown` : ""}`;
  const status = document.getElementById("count");
  if (status.textContent !== said) status.textContent = said;
  document.getElementById("nothing").hidden = found.length > 0;
  document.getElementById("more").hidden = found.length <= limit;
}

let picks;

function applyChoice(keys) {
  if (picks === keys.join()) return;
  picks = keys.join();
  const chosen = new Set(keys);
  for (const row of ROWS) {
    const picked = chosen.has(row.key);
    if (row.box.checked !== picked) row.box.checked = picked;
    row.element.classList.toggle("picked", picked);
  }
}
