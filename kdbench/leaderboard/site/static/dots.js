"use strict";

/* One axis as a list, the best first, better is to the right; the reference is a line through all of it. */

const MOST_DOTS = 14;
const LINE = 21; // pixels from one row to the next

/** Of `rows` in their order all that are `wanted`, and as many of the others as there is room for. */
function someOf(rows, wanted) {
  let room = MOST_DOTS - rows.filter((row) => wanted.has(row)).length;
  return rows.filter((row) => wanted.has(row) || room-- > 0);
}

/** `rows`, which have the score, `chosen` of them in colour; returns the points for `Readout`. */
function drawDots(place, rows, chosen, axis) {
  const good = goodness(DATA.axes[axis][0]);
  const measured = [...rows].sort((a, b) => good[b.index] - good[a.index] || a.index - b.index);
  const shownRows = someOf(measured, new Set([...chosen, REFERENCE]));
  const reference = REFERENCE?.cells[axis];
  const [, title, unit] = DATA.axes[axis];
  const names = shownRows.map((row) => `${row.cells[axis][3] ? "⚠ " : ""}${clipped(row.title, 22)}`);
  const [width, top, right] = [widthOf(place, 680), 20, 14];
  const left = Math.ceil(Math.min(0.45 * width, 12 + Math.max(...names.map(labelWidth))));
  const floor = top + LINE * shownRows.length + 4;
  const few = shownRows.length < measured.length ? ` ${shownRows.length} of ${measured.length.toLocaleString("en")} are drawn.` : "";
  const svg = canvas(width, floor + 44, `${title}, the best first; the table has the numbers.${few}`);
  const scale = scaleOf(reference ? [...shownRows, REFERENCE] : shownRows, axis, left, width - right);
  drawAcross(svg, axis, scale, [left, width - right], floor, top);
  if (reference) {
    const x = scale.at(reference[0]);
    const text = `${clipped(REFERENCE.title, 20)} ${shown(reference[0], unit)}`;
    const half = labelWidth(text) / 2;
    svg.append(drawn("path", { class: "reference", d: `M${x.toFixed(1)} ${top - 4}V${floor}` }));
    const middle = Math.max(half, Math.min(x, width - half)).toFixed(1);
    svg.append(drawn("text", { class: "label", x: middle, y: 12, "text-anchor": "middle" }, text));
  }
  const points = shownRows.map((row, place) => {
    const [cell, number] = [row.cells[axis], chosen.indexOf(row)];
    const [x, y] = [scale.at(cell[0]), top + LINE * (place + 0.5)];
    const kind = number < 0 ? "otherline strong" : `line error s${number % COLOURS}`;
    svg.append(drawn("path", { class: `${kind}${dashes(cell)}`, d: segment([scale.at(cell[1]), y, scale.at(cell[2]), y]) }));
    svg.append(number < 0 ? drawn("circle", { class: "other", cx: x.toFixed(1), cy: y, r: 4 }) : marker(x, y, number));
    svg.append(drawn("text", { class: "label", x: left - 8, y, dy: ".32em", "text-anchor": "end" }, names[place]));
    return { x, y, row, axes: [axis] };
  });
  place.replaceChildren(svg, ...(few ? [make("p", { class: "none" }, few.trim())] : []));
  return points;
}
