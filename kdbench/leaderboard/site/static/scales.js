"use strict";

/* What the plots of scores share: which way is better, how wide there is room, and what is said where nothing is drawn. */

const REFERENCE = BY_KEY.get(DATA.reference); // the row that others are held against, if the board has one

/** Ends of all intervals of rows on an axis. */
function ends(rows, axis) {
  const cells = rows.map((row) => row.cells[axis]).filter(Boolean);
  const low = Math.min(...cells.map((cell) => cell[1]));
  const high = Math.max(...cells.map((cell) => cell[2]));
  if (!cells.length) return [0, 1];
  return high > low ? [low, high] : [low - 0.01, high + 0.01];
}

/** From scores to pixels, the worst near `from`, the best near `to`; and where round numbers are. */
function scaleOf(rows, axis, from, to) {
  const [low, high] = ends(rows, axis);
  const pad = 0.05 * (high - low);
  const [worst, best] = DATA.axes[axis][3] ? [low - pad, high + pad] : [high + pad, low - pad];
  return {
    at: (value) => from + ((value - worst) / (best - worst)) * (to - from),
    ticks: roundTicks(low - pad, high + pad, Math.min(6, Math.abs(to - from) / 55)),
  };
}

function axisName(axis) {
  const [, title, unit, higher] = DATA.axes[axis];
  return `${title} (${unit === "fraction" ? "%" : unit}${higher ? "" : ", lower is better"})`;
}

/** Ticks, their numbers and the name of an axis that goes across, below `floor`; lines over it from `top`, if given. */
function drawAcross(svg, axis, { at, ticks }, [left, right], floor, top = floor) {
  for (const tick of ticks) {
    svg.append(drawn("path", { class: "grid", d: `M${at(tick).toFixed(1)} ${top}V${floor + 5}` }));
    const text = { class: "tick", x: at(tick).toFixed(1), y: floor + 18, "text-anchor": "middle" };
    svg.append(drawn("text", text, tickText(tick, DATA.axes[axis][2])));
  }
  const name = { class: "name", x: (left + right) / 2, y: floor + 37, "text-anchor": "middle" };
  svg.append(drawn("text", name, axisName(axis)));
}

function widthOf(place, most) {
  return Math.round(Math.min(most, Math.max(280, place.clientWidth)));
}

/** A drawing whose units are the page's pixels, so that its text is as large as it is anywhere. */
function canvas(width, height, label) {
  const size = { width, height, viewBox: `0 0 ${width} ${height}` };
  return drawn("svg", { class: "chart", role: "img", "aria-label": label, ...size });
}

function drawNothing(place, said) {
  place.replaceChildren(make("p", { class: "none" }, said));
}
