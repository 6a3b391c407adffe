"use strict";

/* Chosen methods on all axes side by side, better is up; where they have no room beside each other, one below the other,
   better is to the right. */

const AXIS_ROOM = 84; // pixels across for an axis that stands
const LYING = 46; // and down for one that lies

/** `chosen` of `rows`, whose scores are the ends of each axis; returns the points for `Readout`. */
function drawParallel(place, rows, chosen) {
  const count = DATA.axes.length;
  const width = widthOf(place, 1400);
  const turned = width < AXIS_ROOM * count;
  const height = turned ? LYING * count + 10 : 320;
  const svg = canvas(width, height, `Scores of ${chosen.length} methods on ${count} axes; the table has them.`);
  const along = (index) => (turned ? 30 + LYING * index : 48 + ((width - 96) * index) / Math.max(1, count - 1));
  const [worst, best] = turned ? [12, width - 12] : [height - 24, 38];
  const put = (along, value) => (turned ? [value, along] : [along, value]);
  const spans = DATA.axes.map((_, index) => ends(rows, index));
  // Where all have the same score there is no better and no worse: they meet in the middle.
  const alike = DATA.axes.map((_, axis) => new Set(rows.flatMap((row) => (row.cells[axis] ?? []).slice(0, 1))).size === 1);
  const at = (axis, value) => {
    if (alike[axis]) return (worst + best) / 2;
    const [low, high] = spans[axis];
    const share = (value - low) / (high - low);
    return worst + (best - worst) * (DATA.axes[axis][3] ? share : 1 - share);
  };
  const texts = []; // on top of the lines that cross them
  DATA.axes.forEach(([, title, unit, higher], index) => {
    const here = along(index);
    const [low, high] = spans[index].map((end) => shown(end, unit));
    const [better, poorer] = higher ? [high, low] : [low, high];
    const same = rows.map((row) => row.cells[index]).find(Boolean);
    const numbers = same && (alike[index] ? [`all ${shown(same[0], unit)}`, ""] : [better, poorer]);
    const write = (kind, x, y, anchor, text) => texts.push(drawn("text", { class: kind, x, y, "text-anchor": anchor }, text));
    svg.append(drawn("path", { class: "axis", d: segment([...put(here, worst), ...put(here, best)]) }));
    if (turned) write("label", width / 2, here - 14, "middle", clipped(title, 24));
    else write("label", here, 14, "middle", clipped(title, Math.floor(((width - 96) / Math.max(1, count - 1)) / 7)));
    if (!numbers) return;
    if (turned) write("tick", best, here - 14, "end", numbers[0]);
    else write("tick", here, 29, "middle", numbers[0]);
    if (turned) write("tick", worst, here - 14, "start", numbers[1]);
    else write("tick", here, height - 8, "middle", numbers[1]);
  });
  const found = [];
  chosen.forEach((row, number) => {
    const kind = `s${number % COLOURS}`;
    const shift = (number - (chosen.length - 1) / 2) * 3;
    let points = [];
    const flush = () => {
      if (points.length > 1) svg.append(drawn("path", { class: `line ${kind}`, d: path(points) }));
      points = [];
    };
    row.cells.forEach((cell, index) => {
      if (!cell) return flush();
      const here = along(index) + shift;
      const [x, y] = put(here, at(index, cell[0]));
      const bar = segment([...put(here, at(index, cell[1])), ...put(here, at(index, cell[2]))]);
      svg.append(drawn("path", { class: `line error ${kind}${dashes(cell)}`, d: bar }), marker(x, y, number));
      points.push([x, y]);
      found.push({ x, y, row, axes: [index] });
    });
    flush();
  });
  svg.append(...texts);
  place.replaceChildren(svg);
  return found;
}
