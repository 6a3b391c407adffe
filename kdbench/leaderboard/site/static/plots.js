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
      const bar = drawn("path", { class: `line error ${kind}`, d: `M${x} ${at(index, cell[1])}V${at(index, cell[2])}` });
      svg.append(bar, marker(x, at(index, cell[0]), number));
      points.push([x, at(index, cell[0])]);
    });
    flush();
  });
  place.replaceChildren(svg);
}

/** A label beside its point, in the first of some places that no other label has. */
function placed(text, x, y, width, taken) {
  const wide = 6.2 * text.length;
  const places = [-6, 14, -18, 26, -30, 38].flatMap((down) => [[x + 9, y + down], [x - 9 - wide, y + down]]);
  const inside = places.filter(([left]) => left > 50 && left + wide < width);
  const free = inside.find(([left, base]) =>
    taken.every((box) => left > box[0] + box[2] || box[0] > left + wide || Math.abs(base - box[1]) > 11),
  );
  const [left, base] = free ?? inside[0] ?? places[0];
  taken.push([left, base, wide]);
  return drawn("text", { x: left.toFixed(1), y: base.toFixed(1) }, text);
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
  const unit = (kind) => (kind === "fraction" ? "%" : kind);
  const below = { class: "name", x: (left + width) / 2, y: height - 6, "text-anchor": "middle" };
  svg.append(drawn("text", below, `${xTitle} (${unit(xUnit)})`));
  const beside = { class: "name", transform: `translate(13 ${(height - bottom) / 2}) rotate(-90)`, "text-anchor": "middle" };
  svg.append(drawn("text", beside, `${yTitle} (${unit(yUnit)})`));
  const picked = new Map(chosen.map((row, number) => [row, number]));
  const taken = [];
  const inFront = [...ROWS].sort((a, b) => picked.has(a) - picked.has(b));
  for (const row of inFront) {
    const [x, y] = [row.cells[across], row.cells[up]];
    if (!x || !y) continue;
    const number = picked.get(row);
    const cross = `M${atX(x[1])} ${atY(y[0])}H${atX(x[2])}M${atX(x[0])} ${atY(y[1])}V${atY(y[2])}`;
    const known = number !== undefined;
    svg.append(drawn("path", { class: known ? `line error s${number % COLOURS}` : "otherline", d: cross }));
    const point = known
      ? marker(atX(x[0]), atY(y[0]), number)
      : drawn("circle", { class: "other", cx: atX(x[0]), cy: atY(y[0]), r: 3.5 });
    point.append(drawn("title", {}, `${row.title}: ${shown(x[0], xUnit)}, ${shown(y[0], yUnit)}`));
    svg.append(point);
    if (known) svg.append(placed(clipped(row.title, 24), atX(x[0]), atY(y[0]), width, taken));
  }
  place.replaceChildren(svg);
}
