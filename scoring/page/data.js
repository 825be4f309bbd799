"use strict";
// What the page's parts share: the data, the look of a submission, small helpers.

const byId = (id) => document.getElementById(id);

// The content of a script element: base64 of gzip of UTF-8.
async function unpacked(id) {
  const packed = atob(byId(id).textContent);
  const bytes = new Uint8Array(packed.length);
  for (let i = 0; i < packed.length; i += 1) bytes[i] = packed.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  byId(id).textContent = "";
  return new Response(stream).text();
}

function element(name, content, attributes = {}) {
  const made = document.createElement(name);
  if (content !== undefined) made.textContent = content;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

// As the tables in the page: at most four significant digits.
function number(value, digits = 4) {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "0";
  const rounded = Math.abs(Number(value.toPrecision(digits)));
  const decimals = digits - 1 - Math.floor(Math.log10(rounded));
  if (decimals > digits + 1) return value.toExponential(digits - 2);
  const places = Math.max(0, decimals);
  return value.toLocaleString("en", { minimumFractionDigits: places, maximumFractionDigits: places });
}

// A hyperparameter.
function short(value) {
  return typeof value === "number" ? String(Number(value.toPrecision(4))) : String(value);
}

// Plotly reads some HTML in its texts, and in some of them names of variables after a percent sign.
function plain(text) {
  return String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/%/g, "&#37;");
}

// Colour, dash and marker of a submission. Seven colours and five dashes repeat together after 35,
// the markers, filled and open, after 20. The colours are after Okabe and Ito, "Color Universal
// Design" (2008), darker or lighter where the background asks for it.
const COLOURS = {
  light: ["#0072b2", "#d55e00", "#00805f", "#b0468f", "#a87400", "#1d1d1d", "#3f97d3"],
  dark: ["#4aa8ea", "#ff8548", "#2ec49b", "#e795c6", "#f0b83a", "#f2f2f2", "#a8d8fa"],
};
const DASHES = ["solid", "10px,4px", "2px,3px", "10px,3px,2px,3px", "5px,3px"];
const MARKERS = [
  "circle", "square", "triangle-up", "diamond", "x", "star", "triangle-down", "cross", "pentagon", "hourglass",
];

function look(index, theme) {
  const open = Math.floor(index / MARKERS.length) % 2 === 1;
  return {
    colour: COLOURS[theme][index % COLOURS[theme].length],
    dash: DASHES[index % DASHES.length],
    marker: MARKERS[index % MARKERS.length] + (open ? "-open" : ""),
  };
}

// Corners of the markers in units of their radius; Plotly's shapes, near enough for a legend.
function corners(marker) {
  const around = (count, start, radius = () => 1) =>
    Array.from({ length: count }, (_, i) => {
      const angle = start + (2 * Math.PI * i) / count;
      return [radius(i) * Math.cos(angle), radius(i) * Math.sin(angle)];
    });
  const cross = [[-0.35, -1], [0.35, -1], [0.35, -0.35], [1, -0.35], [1, 0.35], [0.35, 0.35],
    [0.35, 1], [-0.35, 1], [-0.35, 0.35], [-1, 0.35], [-1, -0.35], [-0.35, -0.35]];
  const turned = ([x, y]) => [(x - y) * Math.SQRT1_2, (x + y) * Math.SQRT1_2];
  const up = -Math.PI / 2;
  const shapes = {
    circle: () => around(24, 0),
    square: () => [[-0.85, -0.85], [0.85, -0.85], [0.85, 0.85], [-0.85, 0.85]],
    diamond: () => around(4, 0, () => 1.15),
    cross: () => cross,
    x: () => cross.map(turned),
    star: () => around(10, up, (i) => (i % 2 ? 0.5 : 1.2)),
    pentagon: () => around(5, up),
    hourglass: () => [[-0.9, -0.9], [0.9, -0.9], [-0.9, 0.9], [0.9, 0.9]],
    "triangle-up": () => around(3, up, () => 1.1),
    "triangle-down": () => around(3, -up, () => 1.1),
  };
  return shapes[marker.replace("-open", "")]();
}

// A piece of the submission's line with its marker.
function swatch(index, theme) {
  const { colour, dash, marker } = look(index, theme);
  const make = (name, attributes) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };
  const svg = make("svg", { viewBox: "0 0 34 12", "aria-hidden": "true" });
  const dashes = dash === "solid" ? "none" : dash.replaceAll("px", "");
  svg.append(make("line", { x1: 0, x2: 34, y1: 6, y2: 6, stroke: colour, "stroke-width": 2, "stroke-dasharray": dashes }));
  const points = corners(marker).map(([x, y]) => `${17 + 5 * x},${6 + 5 * y}`).join(" ");
  const fill = marker.endsWith("-open") ? "var(--back)" : colour;
  svg.append(make("polygon", { points, fill, stroke: colour, "stroke-width": 1.5 }));
  return svg;
}
