"use strict";

/* A point's numbers in words, below its plot: of the one that the pointer means, or to which the arrow keys lead. */

const REACH = 30; // pixels between the pointer and a point that it means
const STEPS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -Infinity, End: Infinity };

/** What stands behind a row's score: interval, what it is over, n, ranks and flags. */
function basisWords(row, axis) {
  const [[, low, high], said, unit] = [row.cells[axis], DATA.said[row.index][axis], DATA.axes[axis][2]];
  const [basis, ranks, flags] = typeof said === "string" ? [DATA.usual[axis], said, ""] : said;
  return `${shown(low, unit)} to ${shown(high, unit)}, ${basis}; rank ${ranks.replace("-", "–")}${flags && `; ${flags}`}`;
}

function scoreWords(row, axis) {
  const [, title, unit] = DATA.axes[axis];
  return `${title} ${shown(row.cells[axis][0], unit)}${unit === "fraction" ? "\u00a0%" : `\u00a0${unit}`} (${basisWords(row, axis)})`;
}

/* Cells of the table say the same when they are pointed at, unless they show a difference. */
body.addEventListener("pointerover", ({ target }) => {
  const cell = target.closest("td");
  const row = cell && ROWS.find(({ element }) => element === cell.parentElement);
  const axis = cell ? cell.cellIndex - FIRST : -1;
  if (row?.cells[axis] && against < 0) cell.title = basisWords(row, axis);
});

class Readout {
  /** For the plot in an element whose next one has the words; `distance` is how far a point is from the pointer. */
  constructor(place, distance = Math.hypot) {
    this.place = place;
    this.line = place.nextElementSibling;
    this.hint = this.line.textContent;
    this.distance = distance;
    this.points = [];
    this.current = -1;
    for (const kind of ["pointermove", "pointerdown"]) place.addEventListener(kind, (event) => this.point(event));
    place.addEventListener("pointerleave", ({ pointerType }) => pointerType === "mouse" && this.say(-1)); // a finger leaves at once
    place.addEventListener("focus", () => place.matches(":focus-visible") && this.say(0));
    place.addEventListener("blur", () => this.say(-1));
    place.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.say(-1);
      if (!(event.key in STEPS) || event.altKey || event.ctrlKey || event.metaKey || !this.points.length) return;
      event.preventDefault();
      this.say(Math.min(Math.max(this.current + STEPS[event.key], 0), this.points.length - 1));
    });
  }

  /** What was drawn: `{x, y, row, axes}` in the drawing's units, in the order of the keys. */
  show(points) {
    this.points = points;
    this.say(-1);
  }

  point({ clientX, clientY }) {
    const svg = this.place.querySelector("svg");
    if (!svg) return;
    const box = svg.getBoundingClientRect();
    const scale = box.width / svg.viewBox.baseVal.width;
    const far = this.points.map(({ x, y }) => this.distance(box.left + scale * x - clientX, box.top + scale * y - clientY));
    const least = Math.min(...far);
    this.say(least <= REACH ? far.indexOf(least) : -1);
  }

  say(index) {
    this.current = index;
    this.place.querySelector(".ring")?.remove();
    const point = this.points[index];
    const words = point ? `${point.row.title}: ${point.axes.map((axis) => scoreWords(point.row, axis)).join("; ")}` : this.hint;
    if (this.line.textContent !== words) this.line.textContent = words;
    if (!point) return;
    const ring = drawn("circle", { class: "ring", cx: point.x, cy: point.y, r: 8 });
    this.place.querySelector("svg").append(ring);
    if (document.activeElement === this.place) ring.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
}
