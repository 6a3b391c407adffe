"use strict";

/* Elements and SVG without markup: text becomes text nodes, never HTML. */

const COLOURS = 8;

function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function drawn(name, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** A name with its own direction of writing. */
function named(text) {
  return make("bdi", {}, text);
}

function clipped(text, limit) {
  return text.length > limit ? `${text.slice(0, limit - 1)}…` : text;
}

function shown(value, unit, digits = 1) {
  return unit === "fraction" ? (100 * value).toFixed(digits) : String(Number(value.toPrecision(3)));
}

/** The class of an interval of one seed, which is over test images alone. */
function dashes(...cells) {
  return cells.some((cell) => cell[4]) ? " dashed" : "";
}

/** A tick's number, with no more digits than it needs. */
function tickText(value, unit) {
  return String(Number(((unit === "fraction" ? 100 : 1) * value).toPrecision(3)));
}

function path(points) {
  return points.map(([x, y], index) => `${index ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
}

function segment([x1, y1, x2, y2]) {
  return path([[x1, y1], [x2, y2]]);
}

/** A sample of a line, for legends. */
function sample(number) {
  const line = drawn("path", { class: `line s${number % COLOURS}`, d: "M0 4H28" });
  return drawn("svg", { class: "key", viewBox: "0 0 28 8", "aria-hidden": "true" }, line);
}

/** Points of different shapes, so that they do not differ by colour alone. */
function marker(x, y, number) {
  const shapes = [
    `M${x - 4.5} ${y}a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0Z`,
    `M${x - 4} ${y - 4}h8v8h-8Z`,
    `M${x} ${y - 5.5}l5 9h-10Z`,
    `M${x} ${y - 5.5}l5.5 5.5l-5.5 5.5l-5.5 -5.5Z`,
  ];
  return drawn("path", { class: `fill s${number % COLOURS}`, d: shapes[number % shapes.length] });
}

/** Round numbers between two values. */
function roundTicks(low, high, about = 5) {
  const raw = (high - low) / about;
  if (!(raw > 0)) return [low];
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= raw * 0.999);
  const ticks = [];
  for (let tick = Math.ceil(low / step - 1e-9) * step; tick <= high + step * 1e-9; tick += step) ticks.push(tick);
  return ticks;
}
