"use strict";

/* The state of a suite's page, from its controls to the address and back. */

const DEFAULT = 5; // methods that are drawn before any is chosen: the first of the ranking
const MOST = 8; // as many as there are colours
const AXES = ["across", "up", "of"]; // what the plots show, and the controls for it
const PAGE = ROWS.length > 100 ? 50 : 100; // rows that are shown at first, and more at each press of a button: a sort takes as long as they do
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
    of: axis("of", DATA.sorted),
    chart: given.get("chart") ?? "",
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
      of: key(state.of, DATA.sorted),
      chart: state.chart,
    },
    quiet,
  );
  render();
}

const PLOTS = {
  scatter: new Readout(at("scatter")),
  dots: new Readout(at("dots"), (across, down) => Math.abs(down)),
  parallel: new Readout(at("parallel")),
};
/** One plot without the rest of the page, as other pages show it in a frame, with a line that leads to the whole. */
function applyAlone(name) {
  const alone = Object.hasOwn(PLOTS, name);
  document.body.classList.toggle("alone", alone);
  for (const part of document.querySelectorAll(".kept")) part.classList.remove("kept");
  for (let part = alone ? at(name).closest("figure") : null; part && part !== document.body; part = part.parentElement) part.classList.add("kept");
  at("source").hidden = !alone;
  const whole = new URLSearchParams(readState());
  whole.delete("chart");
  at("source").querySelector("a").href = `${location.pathname}#${whole}`;
  for (const link of document.querySelectorAll("a.embed")) {
    const own = new URLSearchParams(whole);
    own.set("chart", link.dataset.chart);
    link.href = `#${own}`;
  }
}

let plotted = "";
let wide = "";

/** Of the rows that the filters let through: all of them in grey, and in colour what is chosen or else the first ones. */
function renderPlots(state, found) {
  const { chosen: keys, across, up, of, words, family, flags } = state;
  const wanted = JSON.stringify([keys, across, up, of, words, family, flags, wide]);
  if (wanted === plotted || !DATA.axes.length) return;
  plotted = wanted;
  const chosen = keys.map((key) => BY_KEY.get(key));
  const drawable = chosen.length ? chosen.filter((row) => found.includes(row)) : found.slice(0, DEFAULT);
  const coloured = drawable.slice(0, MOST);
  const draw = (name, rows, paint) => {
    if (!rows.length) drawNothing(at(name), found.length ? "No method that matches the filter has this." : "No method matches the filter.");
    PLOTS[name].show(rows.length ? paint(at(name), rows) : []);
  };
  const having = (...axes) => found.filter((row) => axes.every((axis) => row.cells[axis]));
  draw("scatter", having(across, up), (place, rows) => drawScatter(place, rows, coloured, across, up));
  draw("dots", having(of), (place, rows) => drawDots(place, rows, coloured, of));
  draw("parallel", coloured, (place, rows) => drawParallel(place, found, rows));
  const hidden = chosen.length && chosen.length - drawable.length;
  at("chosen-note").textContent = chosen.length
    ? `${chosen.length} chosen${hidden ? `, ${hidden} of which the filter hides` : ""}${drawable.length > MOST ? `; the first ${MOST} are drawn` : ""}.`
    : `None is chosen: these are the first ${drawable.length}. Tick methods in the table to draw and compare them.`;
  at("chosen-names").replaceChildren(
    ...coloured.map((row, number) => make("li", {}, sample(number), " ", named(row.title))),
  );
}

function renderChoice(state) {
  const rows = state.chosen.map((key) => BY_KEY.get(key));
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
}

function render() {
  const state = currentState();
  const found = fitting(state);
  applySort(state.column, state.direction);
  applyFolds(state.open, state.column);
  applyWeights(state.weights);
  applyAgainst(state.against);
  applyRows(found, state);
  applyChoice(state.chosen);
  const find = at("find");
  if (find.value !== state.words) find.value = state.words;
  if (at("family")) at("family").value = state.family;
  at("flags").value = state.flags;
  at("sort").value = state.column;
  at("against").value = KEYS[state.against] ?? "";
  for (const name of AXES) at(name).value = state[name];
  renderChoice(state);
  applyAlone(state.chart);
  renderPlots(state, found);
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
at("more").textContent = `Show ${PAGE} more`;
at("more").addEventListener("click", () => change({ limit: currentState().limit + PAGE }));
at("clear").addEventListener("click", () => change({ chosen: [] }));
body.addEventListener("change", (event) => {
  const { chosen } = currentState();
  const { value, checked } = event.target;
  change({ chosen: checked ? [...chosen, value] : chosen.filter((key) => key !== value) });
});
for (const name of AXES) {
  at(name).append(...DATA.axes.map(([, title], index) => make("option", { value: index }, title)));
  at(name).addEventListener("change", (event) => change({ [name]: Number(event.target.value) }));
}
for (const { place } of Object.values(PLOTS)) {
  const link = make("a", { class: "embed", "data-chart": place.id, "aria-label": `Embed ${plotName(place)}: the address of it alone` }, "Embed");
  place.closest("figure").querySelector(".save").append(" · ", link);
}
document.querySelector(".filters").hidden = false;
if (at("weights")) at("weights").hidden = false;
for (const part of document.querySelectorAll(".drawn, .chosen")) part.hidden = !DATA.axes.length || !ROWS.length;

/** A phone has one plot before the cards; the list follows them. */
function settle() {
  if (NARROW.matches) at("after").prepend(at("list"));
  else at("before").append(at("list"));
  resized();
  render();
}

/** Plots are drawn for the room that they have. */
function resized() {
  const now = Object.values(PLOTS).map(({ place }) => place.clientWidth).join();
  if (now === wide) return;
  wide = now;
  render();
}

NARROW.addEventListener("change", settle);
for (const { place } of Object.values(PLOTS)) new ResizeObserver(resized).observe(place);
onState(render);
settle();
