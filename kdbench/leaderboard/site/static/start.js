"use strict";

/* The state of a suite's page, from its controls to the address and back. */

const DEFAULT = 5; // methods that are drawn before any is chosen: the first of the ranking
const MOST = 8; // as many as there are colours
const PAGE = 100; // rows that are shown at first, and more at each press of a button
const at = (id) => document.getElementById(id);

function currentState() {
  const given = readState();
  const column = HEADS.some((head) => head.dataset.column === given.get("sort")) ? given.get("sort") : "rank";
  const natural = ascendingIsBest(column) ? "asc" : "desc";
  const axis = (name, other) => AXIS.get(given.get(name)) ?? other;
  return {
    column,
    natural,
    direction: ["asc", "desc"].includes(given.get("dir")) ? given.get("dir") : natural,
    words: given.get("q") ?? "",
    family: given.get("family") ?? "",
    flags: given.get("flags") ?? "",
    chosen: [...new Set((given.get("m") ?? "").split(","))].filter((key) => BY_KEY.has(key)),
    open: (given.get("open") ?? "").split(",").filter((name) => GROUPS.some((group) => group.name === name)),
    weights: readWeights(given.get("w")),
    against: KEYS.indexOf(given.get("vs")),
    limit: Math.max(PAGE, Number.parseInt(given.get("show"), 10) || 0),
    across: axis("x", 0),
    up: axis("y", DATA.robust),
  };
}

function change(changes, quiet = false) {
  const state = { ...currentState(), ...changes };
  const key = (axis, usual) => (axis === usual ? "" : DATA.axes[axis][0]);
  const natural = ascendingIsBest(state.column) ? "asc" : "desc";
  writeState(
    {
      sort: state.column === "rank" ? "" : state.column,
      dir: state.direction === natural ? "" : state.direction,
      q: state.words,
      family: state.family,
      flags: state.flags,
      m: state.chosen.join(","),
      open: state.open.join(","),
      w: state.weights.every((one) => one === 1) ? "" : state.weights.join(","),
      vs: KEYS[state.against] ?? "",
      show: state.limit === PAGE ? "" : String(state.limit),
      x: key(state.across, 0),
      y: key(state.up, DATA.robust),
    },
    quiet,
  );
  render();
}

let plotted = "";

function renderChosen(state) {
  const wanted = JSON.stringify([state.chosen, state.across, state.up]);
  if (wanted === plotted || !DATA.axes.length) return;
  plotted = wanted;
  const rows = state.chosen.length ? state.chosen.map((key) => BY_KEY.get(key)) : ROWS.slice(0, DEFAULT);
  const drawnRows = rows.slice(0, MOST);
  at("chosen-note").textContent = state.chosen.length
    ? `${rows.length} chosen${rows.length > MOST ? `; the first ${MOST} are drawn` : ""}.`
    : `None is chosen: these are the first ${rows.length}. Tick methods in the table to draw and compare them.`;
  const link = at("compare");
  if (state.chosen.length === 2 || state.chosen.length === 3) {
    link.href = `${link.dataset.page}#m=${state.chosen.join(",")}`;
    link.textContent = "Compare, paired";
  } else {
    link.removeAttribute("href");
    link.textContent = "Two or three can be compared";
  }
  at("choice").hidden = !state.chosen.length;
  at("chosen-count").textContent = `${rows.length} chosen: ${rows.slice(0, 3).map((row) => clipped(row.title, 24)).join(", ")}${rows.length > 3 ? ", …" : ""}`;
  at("chosen-names").replaceChildren(
    ...drawnRows.map((row, number) => make("li", {}, sample(number), " ", named(row.title))),
  );
  drawParallel(at("parallel"), drawnRows);
  drawScatter(at("scatter"), drawnRows, state.across, state.up);
}

function render() {
  const state = currentState();
  applySort(state.column, state.direction);
  applyFolds(state.open, state.column);
  applyWeights(state.weights);
  applyAgainst(state.against);
  applyRows(state);
  applyChoice(state.chosen);
  const find = at("find");
  if (find.value !== state.words) find.value = state.words;
  if (at("family")) at("family").value = state.family;
  at("flags").value = state.flags;
  at("sort").value = state.column;
  at("against").value = KEYS[state.against] ?? "";
  at("across").value = state.across;
  at("up").value = state.up;
  renderChosen(state);
}

for (const head of HEADS) {
  head.querySelector("button").addEventListener("click", () => {
    const column = head.dataset.column;
    const { column: before, direction } = currentState();
    const natural = ascendingIsBest(column) ? "asc" : "desc";
    const turned = direction === "asc" ? "desc" : "asc";
    change({ column, direction: column === before ? turned : natural });
  });
}
at("find").addEventListener("input", (event) => change({ words: event.target.value }, true));
if (at("family")) at("family").addEventListener("change", (event) => change({ family: event.target.value }));
at("flags").addEventListener("change", (event) => change({ flags: event.target.value }));
at("sort").append(...HEADS.map((head) => make("option", { value: head.dataset.column }, head.querySelector("button").textContent)));
at("sort").addEventListener("change", (event) => change({ column: event.target.value, direction: ascendingIsBest(event.target.value) ? "asc" : "desc" }));
at("against").append(...ROWS.map((row) => make("option", { value: row.key }, `difference to ${clipped(row.title, 40)}`)));
at("against").addEventListener("change", (event) => change({ against: KEYS.indexOf(event.target.value) }));
at("reset").addEventListener("click", () => change({ words: "", family: "", flags: "", weights: DATA.weighed.map(() => 1), against: -1 }));
at("more").addEventListener("click", () => change({ limit: currentState().limit + PAGE }));
at("clear").addEventListener("click", () => change({ chosen: [] }));
body.addEventListener("change", (event) => {
  const { chosen } = currentState();
  const { value, checked } = event.target;
  change({ chosen: checked ? [...chosen, value] : chosen.filter((key) => key !== value) });
});
for (const name of ["across", "up"]) {
  at(name).append(...DATA.axes.map(([, title], index) => make("option", { value: index }, title)));
  at(name).addEventListener("change", (event) => change({ [name]: Number(event.target.value) }));
}
document.querySelector(".tools").hidden = false;
if (at("weights")) at("weights").hidden = false;
document.querySelector(".chosen").hidden = !DATA.axes.length || !ROWS.length;
onState(render);
render();
