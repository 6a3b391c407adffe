"use strict";

/* Each chart as an image of its own: title, suite and date above the drawing, legend, caption and source below it. It is
   made here from what is drawn; nothing is asked of any network. */

const MARGIN = 16;
const SHARP = 2; // pixels of a PNG for one of the page
const PAINT = ["fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-linecap", "stroke-linejoin", "paint-order", "font-family", "font-size", "font-weight"];

/** A copy of a drawing that looks the same without the page's style sheet. */
function standing(drawing) {
  const copy = drawing.cloneNode(true);
  const [from, to] = [drawing, copy].map((one) => [one, ...one.querySelectorAll("*")]);
  from.forEach((one, index) => {
    const [style, above] = [getComputedStyle(one), index ? getComputedStyle(one.parentElement) : null];
    for (const name of PAINT) {
      const value = style.getPropertyValue(name);
      if (!above || value !== above.getPropertyValue(name)) to[index].setAttribute(name, value);
    }
    if (style.opacity !== "1") to[index].setAttribute("opacity", style.opacity);
    to[index].removeAttribute("class");
  });
  return copy;
}

function words(element, without) {
  const copy = element?.cloneNode(true);
  for (const part of without ? copy?.querySelectorAll(without) ?? [] : []) part.remove();
  return (copy?.textContent ?? "").replace(/[ \n]+/g, " ").trim();
}

/** On the page of a method a chart's heading, and whose and of which condition it is; else what the drawing says of itself. */
function titleOf(figure) {
  const heading = words(figure.querySelector("h3"));
  if (!heading) return figure.querySelector("svg.chart").getAttribute("aria-label").split(";")[0];
  return `${words(document.querySelector("h1"))}, ${words(figure.closest("section")?.querySelector("h2")).replace(/^C/, "c")}: ${heading}`;
}

/** Lines of at most a width, broken between words. */
function wrapped(text, pen, width) {
  const lines = [""];
  for (const word of text.split(" ")) {
    const longer = `${lines.at(-1)} ${word}`.trim();
    if (lines.at(-1) && pen.measureText(longer).width > width) lines.push(word);
    else lines[lines.length - 1] = longer;
  }
  return lines;
}

function imageOf(figure) {
  const drawing = figure.querySelector("svg.chart");
  const { width: across, height } = drawing.viewBox.baseVal;
  const width = Math.max(across, 400) + 2 * MARGIN;
  const paint = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const family = getComputedStyle(document.body).fontFamily;
  const image = drawn("svg", { width, "font-family": family });
  const pen = document.createElement("canvas").getContext("2d");
  let y = MARGIN;
  const write = (text, size, weight, fill) => {
    pen.font = `${weight} ${size}px ${family}`;
    for (const line of text ? wrapped(text, pen, width - 2 * MARGIN) : []) {
      image.append(drawn("text", { x: MARGIN, y: y + size, "font-size": size, "font-weight": weight, fill }, line));
      y += 1.4 * size;
    }
  };
  write(titleOf(figure), 16, 700, paint("--ink"));
  write(document.getElementById("main").dataset.cited ?? "", 12, 400, paint("--soft"));
  y += 8;
  const copy = standing(drawing);
  for (const [name, value] of Object.entries({ x: MARGIN, y, width: across, height })) copy.setAttribute(name, value);
  image.append(copy);
  y += height + 8;
  const before = figure.parentElement.previousElementSibling;
  const legend = figure.querySelector("ul.legend") ?? (before?.matches("ul.legend") ? before : null);
  let x = MARGIN;
  pen.font = `400 12px ${family}`;
  for (const item of legend?.children ?? []) {
    const [text, key] = [words(item), standing(item.querySelector("svg"))];
    const wide = 36 + pen.measureText(text).width;
    if (x > MARGIN && x + wide > width - MARGIN) [x, y] = [MARGIN, y + 18];
    for (const [name, value] of Object.entries({ x, y: y + 5, width: 28, height: 8 })) key.setAttribute(name, value);
    image.append(key, drawn("text", { x: x + 34, y: y + 13, "font-size": 12, fill: paint("--ink") }, text));
    x += wide + 14;
  }
  if (legend?.children.length) y += 24;
  write(words(figure.querySelector("figcaption"), "h3"), 12, 400, paint("--soft"));
  const place = location.protocol.startsWith("http") ? `, ${location.host}${location.pathname}` : "";
  write(`Source: kdbench leaderboard${place}`, 12, 400, paint("--soft"));
  const whole = Math.ceil(y + MARGIN / 2);
  image.setAttribute("height", whole);
  image.setAttribute("viewBox", `0 0 ${width} ${whole}`);
  image.prepend(drawn("rect", { width, height: whole, fill: paint("--paper") }));
  return image;
}

function keep(blob, title, kind) {
  const name = title.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "").slice(0, 80) || "chart";
  const address = URL.createObjectURL(blob);
  make("a", { href: address, download: `${name}.${kind}` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

async function download(figure, kind) {
  if (!figure.querySelector("svg.chart")) return; // nothing is drawn, and the place says so
  const image = imageOf(figure);
  const text = new XMLSerializer().serializeToString(image);
  if (kind === "svg") return keep(new Blob([text], { type: "image/svg+xml" }), titleOf(figure), kind);
  const picture = new Image();
  picture.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
  await picture.decode();
  const canvas = make("canvas", { width: SHARP * image.getAttribute("width"), height: SHARP * image.getAttribute("height") });
  canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
  canvas.toBlob((blob) => keep(blob, titleOf(figure), kind), "image/png");
}

function plotName(place) {
  return place.getAttribute("aria-label").split(";")[0].toLowerCase();
}

for (const figure of document.querySelectorAll("figure")) {
  const plot = figure.querySelector(".plot"); // drawn later, and again
  if (!plot && !figure.querySelector("svg.chart")) continue;
  const what = plot ? plotName(plot) : titleOf(figure);
  const buttons = ["svg", "png"].map((kind) => {
    const button = make("button", { type: "button", "aria-label": `Download ${what} as ${kind.toUpperCase()}` }, kind.toUpperCase());
    button.addEventListener("click", () => download(figure, kind));
    return button;
  });
  figure.append(make("p", { class: "save" }, "Download ", buttons[0], " ", buttons[1]));
}
