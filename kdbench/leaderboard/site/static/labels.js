"use strict";

/* Names of points in a plot: each beside its point, on no other point and no other name. Boxes are left, top, right,
   bottom; the same points give the same places. */

const LABEL_SIZE = 12; // of the style sheet's text in charts
const ROOM = 7.5; // around a point's centre: its marker and a gap
const RINGS = [9, 18, 27, 36, 48, 60, 75, 95, 120, 150]; // distances; beyond the first one a line leads to the point
const DEGREES = [0, 180, -45, 45, -135, 135, -90, 90, -22.5, 22.5, -157.5, 157.5, -67.5, 67.5, -112.5, 112.5];
const DIRECTIONS = DEGREES.map((turn) => [Math.cos, Math.sin].map((of) => Math.round(100 * of((turn * Math.PI) / 180)) / 100));
const PEN = document.createElement("canvas").getContext("2d");

function labelWidth(text) {
  PEN.font = `${LABEL_SIZE}px ${getComputedStyle(document.body).fontFamily}`;
  return PEN.measureText(text).width;
}

function overlap(a, b) {
  return a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
}

/** Whether a line between two points touches a box: some part of it is inside on both axes. */
function crosses([x1, y1, x2, y2], [left, top, right, bottom]) {
  let [first, last] = [0, 1];
  for (const [from, step, low, high] of [[x1, x2 - x1, left, right], [y1, y2 - y1, top, bottom]]) {
    if (step === 0 && (from < low || from > high)) return false;
    if (step === 0) continue;
    const ends = [(low - from) / step, (high - from) / step].sort((a, b) => a - b);
    [first, last] = [Math.max(first, ends[0]), Math.min(last, ends[1])];
  }
  return first <= last;
}

/** Where a label of a size can lie about a point, the nearest first. */
function places(x, y, wide, high) {
  // The side or corner that faces the point is at the distance.
  const start = (centre, offset, size) => centre + offset + (size * (Math.sign(offset) - 1)) / 2;
  return RINGS.flatMap((distance, ring) =>
    DIRECTIONS.map(([across, down], turn) => {
      const [left, top] = [start(x, distance * across, wide), start(y, distance * down, high)];
      const box = [left, top, left + wide, top + high];
      const [toX, toY] = [Math.min(Math.max(x, box[0]), box[2]), Math.min(Math.max(y, box[1]), box[3])];
      return { box, leader: ring ? [x, y, toX, toY] : null, cost: 10 * ring + 0.1 * turn };
    }),
  );
}

/**
 * Boxes and leading lines of labels, `{text, x, y}` each, in their order. No box is outside `area`, on another box or on
 * a point of `points` unless all places are; crossing one of `lines` costs more than a place that is as near.
 */
function placeLabels(labels, points, lines, area) {
  const marks = points.map(([x, y]) => [x - ROOM, y - ROOM, x + ROOM, y + ROOM]);
  const [taken, drawnLines] = [[], [...lines]];
  return labels.map(({ text, x, y }) => {
    const others = marks.filter((_, index) => points[index][0] !== x || points[index][1] !== y);
    // The quickest to count first: of a place that is dearer than another one nothing more is counted.
    const faults = [
      ({ box }) => 1e6 * (box[0] < area[0] || box[1] < area[1] || box[2] > area[2] || box[3] > area[3]),
      ({ box }) => 1e5 * taken.filter((other) => overlap(box, other)).length,
      ({ box }) => 1e3 * marks.filter((mark) => overlap(box, mark)).length,
      ({ box }) => 12 * drawnLines.filter((line) => crosses(line, box)).length,
      ({ leader }) => (leader ? 12 * [...others, ...taken].filter((mark) => crosses(leader, mark)).length : 0),
    ];
    let best = { cost: Infinity };
    for (const place of places(x, y, labelWidth(text), LABEL_SIZE + 2)) {
      let { cost } = place;
      for (const count of faults) if (cost < best.cost) cost += count(place);
      if (cost < best.cost) best = { ...place, cost };
    }
    taken.push(best.box);
    if (best.leader) drawnLines.push(best.leader);
    return best;
  });
}
