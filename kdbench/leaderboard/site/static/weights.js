"use strict";

/* Places for weights of the families of columns, as `kdbench.leaderboard.placing` has them: to the last bit. */

const MOST_WEIGHT = 3;
const SLIDERS = [...document.querySelectorAll("#weights input")];

/** Mean of a value per family; weights need not sum to 1. */
function weighted(values, weights) {
  let [total, sum] = [0, 0];
  values.forEach((value, family) => {
    total += weights[family] * value;
    sum += weights[family];
  });
  return total / sum;
}

/** How many numbers of an ascending list are below a value, or not above it. */
function below(sorted, value, orEqual) {
  let [from, to] = [0, sorted.length];
  while (from < to) {
    const middle = (from + to) >> 1;
    if (sorted[middle] < value || (orEqual && sorted[middle] === value)) from = middle + 1;
    else to = middle;
  }
  return from;
}

/** Of each row its mean rank and its first and last place; null for one without. */
function standings(ranks, weights) {
  const means = ranks.map((row) => row && [0, 1, 2].map((which) => weighted(row.map((part) => part[which]), weights)));
  const known = means.filter(Boolean);
  const ascending = (which) => known.map((row) => row[which]).sort((a, b) => a - b);
  const [lows, highs] = [ascending(1), ascending(2)];
  return means.map((row) => row && {
    mean: row[0],
    place: 1 + below(highs, row[1], false),
    last: below(lows, row[2], true),
  });
}

/** Weights from the address; equal ones where it has none, or none that make sense. */
function readWeights(text) {
  const given = (text ?? "").split(",").map(Number);
  const fine = given.length === DATA.weighed.length && given.every((one) => one >= 0 && one <= MOST_WEIGHT) && given.some((one) => one > 0);
  return fine ? given : DATA.weighed.map(() => 1);
}

let weighing = "";

function applyWeights(weights) {
  if (weighing === weights.join()) return;
  weighing = weights.join();
  if (weights.some((one) => one !== weights[0])) document.getElementById("weights").open = true;
  SLIDERS.forEach((slider, family) => {
    slider.value = weights[family];
    slider.nextElementSibling.textContent = String(weights[family]);
  });
  const found = standings(DATA.ranks, weights);
  ROWS.forEach((row, index) => {
    const one = found[index];
    if (!one || row.meanRank === one.mean) return;
    row.meanRank = one.mean;
    const [places, mean] = row.element.querySelectorAll(".places, .mean");
    places.textContent = one.place === one.last ? `${one.place}` : `${one.place}–${one.last}`;
    mean.textContent = one.mean.toFixed(2);
  });
}

SLIDERS.forEach((slider, family) => {
  slider.addEventListener("input", () => {
    const weights = currentState().weights.map((one, index) => (index === family ? Number(slider.value) : one));
    if (weights.some((one) => one > 0)) change({ weights }, true);
    else slider.value = 0.5;
  });
});
