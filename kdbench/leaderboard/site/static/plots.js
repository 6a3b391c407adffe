"use strict";

/* The plots of chosen methods: all axes side by side, and two of them against each other. */

function ends(axis) {
  const cells = ROWS.map((row) => row.cells[axis]).filter(Boolean);
  const low = Math.min(...cells.map((cell) => cell[1]));
  const high = Math.max(...cells.map((cell) => cell[2]));
  if (!cells.length) return [0, 1];
  return high > low ? [low, high] : [low - 0.01, high + 0.01];
}

function drawParallel(place, chosen) {
  const [left, right, top, height] = [44, 44, 34, 250];
  const width = Math.max(520, 88 * DATA.axes.length);
  const step = (width - left - right) / Math.max(1, DATA.axes.length - 1);
  const svg = drawn("svg", { class: "chart", viewBox: `0 0 ${width} ${top + height + 30}`, role: "img" });
  svg.setAttribute("aria-label", `Scores of ${chosen.length} methods on ${DATA.axes.length} axes; the table has them.`);
  const spans = DATA.axes.map((axis, index) => ends(index));
  // Where all have the same score there is no better and no worse: they meet in the middle.
  const alike = DATA.axes.map((_, axis) => new Set(ROWS.flatMap((row) => (row.cells[axis] ?? []).slice(0, 1))).size === 1);
  const at = (axis, value) => {
    if (alike[axis]) return top + height / 2;
    const [low, high] = spans[axis];
    const share = (value - low) / (high - low);
    return top + height * (DATA.axes[axis][3] ? 1 - share : share);
  };
  DATA.axes.forEach(([, title, unit, higher], index) => {
    const x = left + step * index;
    const [low, high] = spans[index];
    svg.append(drawn("path", { class: "axis", d: `M${x} ${top}V${top + height}` }));
    svg.append(drawn("text", { x, y: 14, "text-anchor": "middle" }, clipped(title, 14)));
    const [up, down] = (higher ? [high, low] : [low, high]).map((end) => shown(end, unit));
    const same = ROWS.map((row) => row.cells[index]).find(Boolean);
    const above = alike[index] ? `all ${shown(same[0], unit)}` : up;
    svg.append(drawn("text", { class: "tick", x, y: 28, "text-anchor": "middle" }, above));
    if (alike[index]) return;
    svg.append(drawn("text", { class: "tick", x, y: top + height + 16, "text-anchor": "middle" }, down));
  });
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
      const x = left + step * index + shift;
      const bar = drawn("path", { class: `line error ${kind}${dashes(cell)}`, d: `M${x} ${at(index, cell[1])}V${at(index, cell[2])}` });
      svg.append(bar, marker(x, at(index, cell[0]), number));
      points.push([x, at(index, cell[0])]);
    });
    flush();
  });
  place.replaceChildren(svg);
}

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

function drawScatter(place, chosen, across, up) {
  const [left, right, top, bottom, width, height] = [52, 16, 12, 44, 480, 340];
  const svg = drawn("svg", { class: "chart", viewBox: `0 0 ${width} ${height}`, role: "img" });
  const [, xTitle, xUnit] = DATA.axes[across];
  const [, yTitle, yUnit] = DATA.axes[up];
  svg.setAttribute("aria-label", `${yTitle} against ${xTitle}; the table has the numbers.`);
  const pad = ([low, high]) => [low - 0.05 * (high - low), high + 0.05 * (high - low)];
  const [xs, ys] = [pad(ends(across)), pad(ends(up))];
  const atX = (value) => left + ((value - xs[0]) / (xs[1] - xs[0])) * (width - left - right);
  const atY = (value) => height - bottom - ((value - ys[0]) / (ys[1] - ys[0])) * (height - top - bottom);
  for (const tick of roundTicks(...ys)) {
    svg.append(drawn("path", { class: "grid", d: `M${left} ${atY(tick)}H${width - right}` }));
    const text = { class: "tick", x: left - 6, y: atY(tick), dy: ".32em", "text-anchor": "end" };
    svg.append(drawn("text", text, tickText(tick, yUnit)));
  }
  for (const tick of roundTicks(...xs)) {
    svg.append(drawn("path", { class: "grid", d: `M${atX(tick)} ${height - bottom}v5` }));
    const text = { class: "tick", x: atX(tick), y: height - bottom + 18, "text-anchor": "middle" };
    svg.append(drawn("text", text, tickText(tick, xUnit)));
  }
  svg.append(drawn("path", { class: "axis", d: `M${left} ${top}V${height - bottom}H${width - right}` }));
  const said = ([, title, kind, higher]) =>
    `${title} (${kind === "fraction" ? "%" : kind}${higher ? "" : ", lower is better"})`;
  const below = { class: "name", x: (left + width) / 2, y: height - 6, "text-anchor": "middle" };
  svg.append(drawn("text", below, said(DATA.axes[across])));
  const beside = { class: "name", transform: `translate(13 ${(height - bottom) / 2}) rotate(-90)`, "text-anchor": "middle" };
  svg.append(drawn("text", beside, said(DATA.axes[up])));
  const picked = new Map(chosen.map((row, number) => [row, number]));
  const shownRows = [...ROWS].sort((a, b) => picked.has(a) - picked.has(b)).filter((row) => row.cells[across] && row.cells[up]);
  const front = paretoFront(shownRows, across, up);
  svg.append(drawn("path", { class: "front", d: path(front.map((row) => [atX(row.cells[across][0]), atY(row.cells[up][0])])) }));
  const labelled = new Set(front.length + chosen.length <= COLOURS ? [...picked.keys(), ...front] : picked.keys());
  const lines = [];
  for (const row of shownRows) {
    const [x, y] = [row.cells[across], row.cells[up]];
    const number = picked.get(row);
    const known = number !== undefined;
    const kind = known ? `line error s${number % COLOURS}` : "otherline";
    for (const [cell, line] of [
      [x, [atX(x[1]), atY(y[0]), atX(x[2]), atY(y[0])]],
      [y, [atX(x[0]), atY(y[1]), atX(x[0]), atY(y[2])]],
    ]) {
      svg.append(drawn("path", { class: `${kind}${dashes(cell)}`, d: segment(line) }));
      lines.push(line);
    }
    const point = known
      ? marker(atX(x[0]), atY(y[0]), number)
      : drawn("circle", { class: "other", cx: atX(x[0]), cy: atY(y[0]), r: 3.5 });
    point.append(drawn("title", {}, `${row.title}: ${shown(x[0], xUnit)}, ${shown(y[0], yUnit)}`));
    svg.append(point);
  }
  const points = shownRows.map((row) => [atX(row.cells[across][0]), atY(row.cells[up][0])]);
  const labels = shownRows.flatMap((row, index) =>
    labelled.has(row) ? [{ text: clipped(row.title, 24), x: points[index][0], y: points[index][1] }] : [],
  );
  placeLabels(labels, points, lines, [left + 2, 0, width, height - bottom]).forEach(({ box, leader }, index) => {
    if (leader) svg.append(drawn("path", { class: "leader", d: segment(leader) }));
    const at = { class: "label", x: box[0].toFixed(1), y: (box[3] - 3).toFixed(1) };
    svg.append(drawn("text", at, labels[index].text));
  });
  place.replaceChildren(svg);
}
