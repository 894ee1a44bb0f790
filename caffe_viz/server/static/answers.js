// The likeliest classes as bars, and what changed since the last image; a class is a button: why this one?
import * as collection from "./collection.js";
import { ask } from "./api.js";
import { button, failed, h, number, quiet, short } from "./dom.js";
import { figure, within } from "./pictures.js";
import { go, state, subscribe } from "./state.js";

const [WIDE, HIGH] = [96, 96]; // px of the input as the net sees it

export function mount(root, network) {
  const said = h("p", { role: "status", class: "said" }), seen = h("div"), tables = h("div", { class: "heads" });
  const legend = quiet("");
  const place = h("div", { class: "place answer" }, tables, legend, seen);
  root.append(said, place);
  let last = null, present = null; // {image, net, heads}: of the image before, and of the one that is shown

  async function show() {
    if (!state.image) return;
    place.setAttribute("aria-busy", "true");
    const { net, image } = state;
    try {
      const answer = await ask("answer", { net, image }, { says: "computing the answer" });
      if (!answer) return;
      const { facts: { heads, why }, pictures, data } = answer;
      if (present?.net === net && present.image !== image) last = further(present.image, image) ? last : present;
      else if (present?.net !== net) last = null;
      present = { net, image, heads };
      seen.replaceChildren(...pictures.slice(0, 1).map((picture) => figure({ ...picture, data, shown: within(picture, WIDE, HIGH), caption: "as the network sees it" })));
      legend.textContent = why || words(last);
      said.textContent = heads.map(best).filter(Boolean).join("; ");
      draw(heads);
    } catch (error) {
      [said.textContent, legend.textContent, last, present] = ["", "", null, null];
      tables.replaceChildren(failed(error));
    }
    place.removeAttribute("aria-busy");
  }

  // The same class keeps the focus, wherever it stands now.
  function draw(heads) {
    const focused = document.activeElement?.dataset.target;
    const inside = tables.contains(document.activeElement);
    tables.replaceChildren(...heads.map((head, place) => table(head, last?.heads[place], (n) => targetOf(head, place, n))));
    mark();
    if (inside) [...tables.querySelectorAll("button")].find(({ dataset }) => dataset.target === focused)?.focus();
  }

  function mark() {
    for (const one of tables.querySelectorAll("[data-target]")) one.setAttribute("aria-pressed", one.dataset.target === state.target);
  }

  subscribe(["net", "image"], show);
  subscribe(["target"], mark);
}

// One edit after another is compared with the image that is edited, not with half a stroke of the brush.
const further = (...images) => images.every((id) => /, edited$/.test(collection.nameOf(id))) && collection.nameOf(images[0]) === collection.nameOf(images[1]);

// In the grammar of attribute --target.
const targetOf = ({ head }, place, n) => (place ? `${head}:${n}` : String(n));

// Of "great white shark, white shark" the first.
const named = ({ label, number: n }) => label.split(",")[0].trim() || `class ${n}`;

function best({ unit, classes: [first] }) {
  return first ? `${named(first)}, ${unit} ${number(first.value)}` : "";
}

function words(last) {
  return `${last ? `Before: ${collection.nameOf(last.image)}. ` : ""}Click a class to see which pixels speak for it.`;
}

function table({ head, unit, values, classes }, last, target) {
  const rows = [...classes, ...gone(classes, values, last)];
  const scale = unit === "probability" ? [0, 1] : range(rows);
  const heads = last ? ["class", "", "now", "before", "change"] : ["class", "", unit];
  return h("table", { class: "guesses" }, h("caption", { class: "hidden" }, `${unit} of each class, by ${head}`),
    h("thead", {}, h("tr", {}, heads.map((name) => (name ? h("th", { scope: "col" }, name) : h("td"))))),
    h("tbody", {}, rows.map((one) => row(one, scale, target(one.number), last && (last.values[one.number] ?? null)))));
}

// The class that was likeliest before, where it is not among those of now.
function gone(classes, values, last) {
  const first = last?.classes[0];
  if (!first || classes.some((one) => one.number === first.number)) return [];
  return [{ ...first, value: values[first.number] ?? null }];
}

function row(one, scale, target, before) {
  const open = button(named(one), () => go({ target }), { "data-target": target, title: `class ${one.number} ${one.label}`.trim() });
  return h("tr", {}, h("th", { scope: "row" }, open), h("td", { class: "bar", "aria-hidden": "true" }, bar(one.value, scale)),
    h("td", { class: "value" }, short(one.value)), before !== undefined && before !== null ? changed(before, one.value) : "");
}

function changed(before, now) {
  const by = now - before, still = Math.abs(by) < 0.0005;
  const arrow = h("span", { "aria-hidden": "true" }, still ? "" : by > 0 ? "▲ " : "▼ ");
  return [h("td", { class: "value was" }, short(before)),
    h("td", { class: `value ${still ? "" : by > 0 ? "up" : "down"}` }, arrow, still ? "same" : `${by > 0 ? "+" : "−"}${short(Math.abs(by))}`)];
}

const range = (rows) => {
  const values = rows.map(({ value }) => value ?? 0);
  return [Math.min(0, ...values), Math.max(0, ...values)];
};

function bar(value, [low, high]) {
  const filled = h("span");
  const part = (number_) => (high > low ? (100 * (number_ - low)) / (high - low) : 0);
  const [from, to] = [part(Math.min(0, value ?? 0)), part(Math.max(0, value ?? 0))];
  filled.style.marginInlineStart = `${from}%`;
  filled.style.width = `${to - from}%`;
  return filled;
}
