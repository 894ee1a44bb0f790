// Lines of numbers as a small drawing.
import { h, number } from "./dom.js";

const NAMESPACE = "http://www.w3.org/2000/svg";
const [WIDE, HIGH] = [200, 60];

// `lines`: of each the value at the start and after every step, of which there will be `total`.
export function curve(lines, total, says) {
  const all = lines.flat().filter((value) => value !== null);
  if (all.length < 2) return h("div");
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const drawing = svg("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, preserveAspectRatio: "none", role: "img", "aria-label": `${says}, from ${number(low)} to ${number(high)}` },
    lines.map((line) => svg("polyline", { points: points(line, total, [low, high]), "vector-effect": "non-scaling-stroke" })));
  return h("div", { class: "curve" }, h("p", { class: "ends" }, h("span", {}, number(high))), drawing,
    h("p", { class: "ends" }, h("span", {}, number(low)), h("span", {}, `${total} steps`)));
}

function points(line, total, [low, high]) {
  const x = (k) => (WIDE * k) / total;
  const y = (value) => HIGH - (HIGH * (value - low)) / (high - low || 1);
  return line.map((value, k) => value === null ? "" : `${x(k).toFixed(1)},${y(value).toFixed(1)}`).filter(Boolean).join(" ");
}

function svg(tag, attributes, children = []) {
  const element = document.createElementNS(NAMESPACE, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}
