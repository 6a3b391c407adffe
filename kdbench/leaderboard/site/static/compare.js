"use strict";

/* Two or three methods: scores side by side, and every paired difference with its interval. */

const PICKS = [...document.querySelectorAll(".pickone")];
const LETTERS = ["A", "B", "C"];

function chosenRows() {
  const given = (readState().get("m") ?? "").split(",").map((key) => KEYS.indexOf(key));
  return [...new Set(given)].filter((index) => index >= 0).slice(0, 3);
}

/** A p-value to the two digits that the page has of it. */
function inShort(p) {
  return p > 0.985 ? "1" : p.toFixed(p < 0.0995 ? 3 : 2).slice(1);
}

function verdict(found, first, second) {
  const better = found.value > 0 ? first : second;
  const how = found.paired ? "" : ", unpaired";
  if (found.dashed) return `one seed: not tested${how}`;
  if (found.significant === null) return Math.abs(found.value) > found.half ? `${better} better${how}` : `no clear difference${how}`;
  return found.significant ? `${better} is better${how}` : `no significant difference${how}`;
}

function head(...titles) {
  const cells = titles.map((title) => make("th", { scope: "col" }, ...[title].flat()));
  return make("thead", {}, make("tr", {}, ...cells));
}

function renderScores(rows) {
  const names = rows.map((index, number) => {
    const [seeds, budget, params] = DATA.facts[index];
    const link = make("a", { href: `method/${KEYS[index]}.html` }, named(DATA.rows[index][1]));
    const said = [`seeds ${seeds.join(", ") || "none"}`, params, budget !== "standard" && budget];
    return [`${LETTERS[number]}: `, link, make("br"), make("small", {}, said.filter(Boolean).join("; "))];
  });
  const lines = DATA.axes.map(([, title, unit, higher], axis) => {
    const cells = rows.map((index) => {
      const cell = DATA.rows[index].at(-1)[axis];
      if (!cell) return make("td", { class: "none" }, "not measured");
      const value = make("b", {}, `${DATA.signs[cell[5] ?? ""]}${cell[3] ? "⚠ " : ""}${shown(cell[0], unit, 2)}`);
      return make("td", {}, value, " ", make("small", {}, `${shown(cell[1], unit)} to ${shown(cell[2], unit)}`));
    });
    const note = `${unit === "fraction" ? "%" : unit}, ${higher ? "higher" : "lower"} is better`;
    return make("tr", {}, make("th", { scope: "row" }, title, " ", make("small", {}, note)), ...cells);
  });
  document.getElementById("scores").replaceChildren(head("Axis", ...names), make("tbody", {}, ...lines));
}

/** Said of an axis in a table whose numbers are turned there. */
function lower(axis) {
  return DATA.axes[axis][3] ? "" : make("small", {}, " lower is better");
}

function bar(found, span) {
  const at = (value) => 100 + (96 * value) / span;
  const svg = drawn("svg", { class: "chart", viewBox: "0 0 200 16", width: 200, height: 16, "aria-hidden": "true" });
  svg.append(drawn("path", { class: "zero", d: "M100 0V16" }));
  const [low, high] = [found.value - found.half, found.value + found.half];
  svg.append(drawn("path", { class: `line error s0${found.dashed}`, d: `M${at(low).toFixed(1)} 8H${at(high).toFixed(1)}` }));
  svg.append(drawn("circle", { class: "fill s0", cx: at(found.value).toFixed(1), cy: 8, r: 3.5 }));
  return svg;
}

function renderPair(i, j, first, second) {
  const all = DATA.axes.map((axis, index) => difference(index, i, j));
  const lines = DATA.axes.map(([, title, unit], axis) => {
    const name = make("th", { scope: "row" }, title, lower(axis));
    const found = all[axis];
    if (!found) return make("tr", {}, name, make("td", { class: "none", colspan: 5 }, "not measured by both"));
    const same = all.filter((other, index) => other && DATA.axes[index][2] === unit);
    const span = Math.max(1e-9, ...same.map((other) => Math.abs(other.value) + other.half));
    const between = `${signed(found.value - found.half, unit)} to ${signed(found.value + found.half, unit)}`;
    const said = make("td", { class: found.significant ? "verdict" : "" }, verdict(found, first, second));
    const p = found.p === null ? "–" : found.p < 0.001 ? "< .001" : inShort(found.p);
    return make("tr", {}, name, make("td", { class: "num" }, make("b", {}, signed(found.value, unit))),
      make("td", { class: "num" }, between), make("td", {}, bar(found, span)), make("td", { class: "num" }, p), said);
  });
  const title = make("h3", {}, `${first} against ${second}: `, named(DATA.rows[i][1]), " against ", named(DATA.rows[j][1]));
  const columns = head("Axis", `${first} better by`, "95 % interval", `${second} better ← → ${first} better`, "p", "Verdict");
  const table = make("table", {}, columns, make("tbody", {}, ...lines));
  const label = `Differences of ${first} and ${second}`;
  return [title, make("div", { class: "scroll", role: "region", "aria-label": label, tabindex: 0 }, table)];
}

function render() {
  const rows = chosenRows();
  PICKS.forEach((pick, number) => (pick.value = rows[number] ?? ""));
  const status = document.getElementById("status");
  document.getElementById("result").hidden = rows.length < 2;
  if (rows.length < 2) {
    status.textContent = "Choose two or three different methods.";
    return;
  }
  status.textContent = `${rows.map((index) => DATA.rows[index][1]).join(", ")}`;
  document.getElementById("basis").textContent = DATA.pairs
    ? "Above zero the first method is better, on every axis: where lower is better, by how much lower it is. In points of percent where the score is a share. Plots of one table share one scale."
    : `This suite has more than ${DATA.limit} methods${DATA.left ? `, of which the first ${KEYS.length} are on this page` : ""}: differences are computed here from the two intervals, unpaired and without a test; above zero the first method is better, on every axis. They are less sharp than the differences that the ranks rest on.`;
  renderScores(rows);
  const parts = [];
  for (let i = 0; i < rows.length; i += 1) {
    for (let j = i + 1; j < rows.length; j += 1) parts.push(...renderPair(rows[i], rows[j], LETTERS[i], LETTERS[j]));
  }
  document.getElementById("differences").replaceChildren(...parts);
}

const byName = DATA.rows.map((row, index) => [row[1], index]);
byName.sort((a, b) => new Intl.Collator("en", { numeric: true }).compare(a[0], b[0]));
for (const pick of PICKS) {
  pick.append(make("option", { value: "" }, "–"));
  pick.append(...byName.map(([title, index]) => make("option", { value: index }, clipped(title, 60))));
  pick.addEventListener("change", () => {
    const keys = PICKS.map((other) => KEYS[other.value]).filter((key) => key !== undefined);
    writeState({ m: [...new Set(keys)].join(",") });
    render();
  });
}
document.querySelector(".tools").hidden = false;
onState(render);
render();
