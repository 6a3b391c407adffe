"use strict";

/* On a narrow screen a row is a card, which has a bar for each family: the ranks that are possible in it, the first of
   the ranked methods at the right end. */

const NARROW = matchMedia("(max-width: 700px)");

function familyBar([middle, first, last], worst) {
  const at = (rank) => 100 - (100 * (rank - 1)) / Math.max(1, worst - 1);
  const bar = (kind, from, to, high) =>
    drawn("rect", { class: kind, x: from.toFixed(1), y: (10 - high) / 2, width: Math.max(2, to - from).toFixed(1), height: high });
  const parts = [bar("track", 0, 102, 2), bar("range", at(last), at(first) + 2, 8), bar("middle", at(middle), at(middle) + 2, 10)];
  return drawn("svg", { viewBox: "0 0 102 10", preserveAspectRatio: "none", "aria-hidden": "true" }, ...parts);
}

function barsOf(ranks) {
  const round = (rank) => String(Number(rank.toFixed(1)));
  return make("ul", { class: "bars narrow" }, ...DATA.weighed.map((name, family) => {
    const [, first, last] = ranks[family];
    const range = first === last ? round(first) : `${round(first)}–${round(last)}`;
    return make("li", {}, `${name} `, make("b", {}, range), make("span", { class: "unseen" }, ` of ${round(DATA.worst[family])}`), familyBar(ranks[family], DATA.worst[family]));
  }));
}

/** Bars of rows that have places and none yet. */
function applyBars(rows) {
  if (!NARROW.matches) return;
  for (const row of rows) {
    const place = row.element.querySelector("td.rank");
    if (DATA.ranks[row.index] && !place.querySelector(".bars")) place.append(barsOf(DATA.ranks[row.index]));
  }
}
