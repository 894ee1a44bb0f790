// The layers: the graph, a search, a list.
import { h, quiet, reveal } from "./dom.js";
import { key } from "./keys.js";
import { complete, go, state, subscribe } from "./state.js";
import { complain } from "./status.js";

export function mount(root, network) {
  const graph = root.querySelector("#graph");
  const [list, all, search, found] = [".list", "details", "#layer-search", "[role=status]"].map((part) => root.querySelector(part));
  if (!graph.firstElementChild) {
    graph.append(quiet("There is no graph: Graphviz is not installed on the computer that runs caffe-viz."));
    all.open = true;
  }
  const layers = () => network.networks[Number(state.net)].layers;
  root.addEventListener("click", (event) => event.target.closest('a[href^="?"]') && reveal(document.getElementById("maps")));
  searching({ search, list, all, found });
  stepping(layers);
  subscribe(["net"], () => fill(list, layers()));
  subscribe(["net", "layer", "image", "unit"], () => mark(root, graph));
  complete(({ net, layer, unit }) => {
    const which = network.networks[net] ? net : "0", known = network.networks[which].layers;
    const found = known.find(({ name }) => name === layer);
    if (!found) {
      if (layer) complain(`This network has no layer ${layer}.`);
      return { net: which, layer: first(known), unit: "" };
    }
    if (unit === "" || (/^\d+$/.test(unit) && Number(unit) < found.units)) return { net: which };
    complain(`Layer ${layer} has no unit ${unit}: its units are 0 to ${found.units - 1}.`);
    return { net: which, unit: "" };
  });
}

// Where one begins: the first layer whose filters have weights.
const first = (layers) => (layers.find(({ maps, params }) => maps && params) ?? layers.find(({ maps }) => maps) ?? layers[0]).name;

function fill(list, layers) {
  list.replaceChildren(...layers.map(({ name, type, shape }) =>
    h("li", {}, h("a", { href: `?${new URLSearchParams({ layer: name })}` }, name,
      h("small", {}, ` ${type} ${shape ? shape.join(" x ") : ""}`)))));
}

// The current layer; in the graph also the folded module that it is in.
function mark(root, graph) {
  const links = [...root.querySelectorAll('a[href^="?"]')];
  for (const link of links) {
    const here = new URLSearchParams(link.getAttribute("href")).get("layer") === state.layer;
    here ? link.setAttribute("aria-current", "true") : link.removeAttribute("aria-current");
  }
  for (const old of graph.querySelectorAll(".here")) old.classList.remove("here");
  const link = graph.querySelector("[aria-current]"), view = graph.querySelector(".cvg-view");
  const folded = link?.closest("[data-inside]")?.querySelector(":scope > .cvg-folded");
  folded?.classList.add("here");
  const shown = [link, folded].find((part) => part?.getClientRects().length);
  if (shown) centre(view, shown.getBoundingClientRect());
}

// Scrolls the graph alone, where the layer is not to be seen.
function centre(view, box) {
  const frame = view.getBoundingClientRect();
  const inside = box.top >= frame.top && box.bottom <= frame.bottom && box.left >= frame.left && box.right <= frame.right;
  if (inside) return;
  view.scrollBy(box.left + box.width / 2 - frame.left - frame.width / 2, box.top + box.height / 2 - frame.top - frame.height / 2);
}

function searching({ search, list, all, found }) {
  const shown = () => [...list.querySelectorAll("li:not([hidden]) a")];
  const move = (to) => (to < 0 ? search : shown()[to])?.focus();
  search.addEventListener("input", () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const item of list.children) {
      const text = item.textContent.toLowerCase();
      item.hidden = !words.every((word) => text.includes(word));
    }
    if (words.length) all.open = true;
    found.textContent = words.length ? `${shown().length} of ${list.children.length}` : "";
  });
  search.addEventListener("keydown", (event) => {
    if (event.key === "Enter") shown()[0]?.click();
    else if (event.key === "ArrowDown") move(0), event.preventDefault();
  });
  list.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    move(shown().indexOf(document.activeElement) + step);
  });
  key("/", "find a layer", () => search.focus());
}

function stepping(layers) {
  const step = (by) => {
    const names = layers().map(({ name }) => name);
    const to = names[names.indexOf(state.layer) + by];
    if (to) go({ layer: to });
  };
  key("[", "previous layer", () => step(-1));
  key("]", "next layer", () => step(1));
}
