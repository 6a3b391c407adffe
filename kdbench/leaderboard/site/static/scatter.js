"use strict";

/* Two axes against each other, better is up and to the right. */

const CROWD = 100; // grey points from which on their intervals would hide how dense they lie
const ALL_NAMED = 12; // points that all have a name

/** Rows whose means no other row beats on both axes, from one end of the front to the other. */
function paretoFront(rows, across, up) {
  const good = (row, axis) => (DATA.axes[axis][3] ? 1 : -1) * row.cells[axis][0];
  const ordered = [...rows].sort((a, b) => good(b, across) - good(a, across) || good(b, up) - good(a, up));
  let best = -Infinity;
  return ordered.filter((row) => {
    const further = good(row, up) > best;
    best = Math.max(best, good(row, up));
    return further;
  });
}

/** `rows`, which have both scores, `chosen` of them in colour; returns the points for `Readout`. */
function drawScatter(place, rows, chosen, across, up) {
  const [width, height, left, right, top, bottom] = [widthOf(place, 680), 340, 46, 14, 12, 44];
  const picked = new Map(chosen.map((row, number) => [row, number]));
  const both = [...rows].sort((a, b) => picked.has(a) - picked.has(b));
  const svg = canvas(width, height, `${DATA.axes[up][1]} against ${DATA.axes[across][1]}; the table has the numbers.`);
  const floor = height - bottom;
  const [xs, ys] = [scaleOf(both, across, left, width - right), scaleOf(both, up, floor, top)];
  for (const tick of ys.ticks) {
    svg.append(drawn("path", { class: "grid", d: `M${left} ${ys.at(tick).toFixed(1)}H${width - right}` }));
    const text = { class: "tick", x: left - 6, y: ys.at(tick).toFixed(1), dy: ".32em", "text-anchor": "end" };
    svg.append(drawn("text", text, tickText(tick, DATA.axes[up][2])));
  }
  drawAcross(svg, across, xs, [left, width - right], floor);
  svg.append(drawn("path", { class: "axis", d: `M${left} ${top}V${floor}H${width - right}` }));
  const beside = { class: "name", transform: `translate(12 ${floor / 2}) rotate(-90)`, "text-anchor": "middle" };
  svg.append(drawn("text", beside, axisName(up)));
  const points = both.map((row) => ({ x: xs.at(row.cells[across][0]), y: ys.at(row.cells[up][0]), row, axes: [across, up] }));
  const front = paretoFront(both, across, up);
  const byRow = new Map(points.map((point) => [point.row, point]));
  svg.append(drawn("path", { class: "front", d: path(front.map((row) => [byRow.get(row).x, byRow.get(row).y])) }));
  const crowded = both.length - chosen.length > CROWD;
  const lines = [];
  for (const { x, y, row } of points) {
    const [cells, number] = [[row.cells[across], row.cells[up]], picked.get(row)];
    const known = number !== undefined;
    if (known || !crowded) {
      const kind = known ? `line error s${number % COLOURS}` : "otherline";
      [[xs.at(cells[0][1]), y, xs.at(cells[0][2]), y], [x, ys.at(cells[1][1]), x, ys.at(cells[1][2])]].forEach((line, index) => {
        svg.append(drawn("path", { class: `${kind}${dashes(cells[index])}`, d: segment(line) }));
        lines.push(line);
      });
    }
    const grey = { class: `other${crowded ? " faint" : ""}`, cx: x.toFixed(1), cy: y.toFixed(1), r: crowded ? 3 : 3.5 };
    svg.append(known ? marker(x, y, number) : drawn("circle", grey));
  }
  const also = both.length <= ALL_NAMED ? both : front.length + chosen.length <= COLOURS ? [...front, REFERENCE] : [];
  const labelled = new Set([...chosen, ...also]);
  const labels = points.filter(({ row }) => labelled.has(row)).map(({ x, y, row }) => ({ text: clipped(row.title, 24), x, y }));
  const area = [left + 2, 0, width, floor];
  placeLabels(labels, points.map(({ x, y }) => [x, y]), lines, area).forEach(({ box, leader }, index) => {
    if (leader) svg.append(drawn("path", { class: "leader", d: segment(leader) }));
    const at = { class: "label", x: box[0].toFixed(1), y: (box[3] - 3).toFixed(1) };
    svg.append(drawn("text", at, labels[index].text));
  });
  place.replaceChildren(svg);
  return points.sort((a, b) => a.x - b.x);
}
