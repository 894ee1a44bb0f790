// Two images on one network, or two networks on one image: their answers, the maps of the layer, and the difference.
import * as collection from "./collection.js";
import { ask } from "./api.js";
import { failed, h, number, quiet, short } from "./dom.js";
import { figure, within } from "./pictures.js";
import { whenSeen } from "./seen.js";
import { go, state, subscribe } from "./state.js";
import { Tiles } from "./tiles.js";

const SHOWN = 5; // classes of each
const WIDE = 160; // px
const VIEWS = ["its map", "over the image"];
const WAYS = { images: "two images", networks: "two networks" };

export function mount(root, network) {
  const choice = h("p", { class: "control" }), about = quiet(""), place = h("div", { class: "compare" });
  root.append(choice, about, place);
  const parts = { answers: h("div"), maps: h("div", { class: "three" }), unit: h("div") };
  const grids = ["first", "second", "difference"].map((name) => grid(name));
  parts.maps.append(...grids.map(({ element }) => element));
  const networks = network.networks.map(({ name, weights }, k) => `network ${k + 1} (${weights.split(/[\\/]/).at(-1) || name})`);
  let turn = null;

  async function show() {
    const mine = turn = {};
    const way = ways(network).find((one) => one === state.beside) ?? ways(network)[0];
    fill(choice, way, ways(network));
    about.textContent = way ? "" : HOW;
    place.replaceChildren(...(way ? Object.values(parts) : []));
    if (!way) return;
    const sides = await both(way, networks);
    if (turn !== mine) return;
    about.textContent = `First: ${sides[0].name}. Second: ${sides[1].name}. Difference: first less second.`;
    answers(parts.answers, sides);
    maps(grids, sides);
    unit(parts.unit, sides);
  }

  subscribe(["net", "layer", "unit", "image", "other", "beside"], whenSeen(root, show));
}

const HOW = "Choose a second image above (“Keep this one to compare” and then choose another), or start caffe-viz serve with --beside and a second network.";

// What can be compared now.
const ways = ({ networks }) => [
  state.image && state.other && "images",
  state.image && networks.length > 1 && "networks",
].filter(Boolean);

// [{net, image, name}, ..] of the two.
async function both(way, networks) {
  const { net, image, other } = state;
  if (way === "networks") return [net, String(1 - Number(net))].map((k) => ({ net: k, image, name: networks[Number(k)] }));
  const names = await Promise.all([image, other].map((id) => collection.named(id).catch(() => collection.nameOf(id))));
  return [image, other].map((id, k) => ({ net, image: id, name: names[k] }));
}

function fill(choice, way, possible) {
  choice.hidden = possible.length < 2;
  const select = h("select", { change: () => go({ beside: select.value }) },
    possible.map((one) => h("option", { value: one, selected: one === way }, WAYS[one])));
  choice.replaceChildren(h("label", {}, "Compare ", select));
}

async function answers(place, sides) {
  await asked(place, sides.map(({ net, image }, k) => ["answer", { net, image }, `compared answer ${k}`]), "comparing the answers", ([first, second]) =>
    first.facts.heads.map((head, k) => table(head, second.facts.heads[k])));
}

// The likeliest of both.
function table(first, second) {
  if (!second) return "";
  const label = (one) => one.label.split(",")[0] || `class ${one.number}`;
  const classes = new Map([first, second].flatMap(({ classes }) => classes.slice(0, SHOWN)).map((one) => [one.number, label(one)]));
  const rows = [...classes].map(([k, name]) => [name, first.values[k] ?? null, second.values[k] ?? null]);
  return h("table", { class: "guesses" }, h("caption", {}, `${first.unit} of the likeliest classes`),
    h("thead", {}, h("tr", {}, ["class", "first", "second", "difference"].map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, rows.map(([name, one, other]) => h("tr", {}, h("th", { scope: "row" }, name),
      [one, other, one === null || other === null ? null : one - other].map((value) => h("td", { class: "value" }, short(value)))))));
}

function grid(name) {
  const title = h("h3", {}), words = quiet(""), place = h("div", { class: "place" });
  return { name, title, words, place, tiles: new Tiles(place, (unit) => go({ unit }), name === "difference" ? "rms" : "mean"), element: h("div", {}, title, words, place) };
}

function maps(grids, [first, second]) {
  const { layer } = state;
  if (!layer) return;
  const difference = { net: first.net, image: first.image, layer, other_image: second.image, other_net: second.net };
  const asked = [["maps", { net: first.net, image: first.image, layer }], ["maps", { net: second.net, image: second.image, layer }], ["difference", difference]];
  const names = [first.name, second.name, "the difference"];
  for (const [k, [question, params]] of asked.entries()) fillGrid(grids[k], question, params, `${layer}, ${names[k]}`);
}

async function fillGrid({ name, title, words, place, tiles }, question, params, says) {
  title.textContent = says;
  place.setAttribute("aria-busy", "true");
  try {
    const answer = await ask(question, params, { slot: `compared ${name}`, says: "comparing the maps" });
    if (!answer) return;
    await tiles.show(answer, says);
    tiles.mark(state.unit);
    const { low, high } = answer.facts;
    words.textContent = question === "difference" ? `Grey is no difference, white ${number(high)}, black ${number(low)}.` : `Black is ${number(low)}, white ${number(high)}.`;
  } catch (error) {
    words.textContent = "";
    tiles.clear(failed(error));
  }
  place.removeAttribute("aria-busy");
}

async function unit(place, sides) {
  const { layer, unit: number_ } = state;
  place.hidden = number_ === "";
  if (number_ === "") return;
  await asked(place, sides.map(({ net, image }, k) => ["unit", { net, image, layer, unit: number_ }, `compared unit ${k}`]), "comparing the unit", (both) =>
    [h("h3", {}, `Unit ${number_} of ${layer} in both`), h("div", { class: "pair" }, both.map(({ pictures, data, facts }, k) =>
      h("div", { class: "one" }, h("p", {}, `${sides[k].name}: up to ${number(facts.max)}`),
        h("div", { class: "pair" }, pictures.slice(0, 2).map((picture, n) => figure({ ...picture, data: n ? "" : data, shown: within(picture, WIDE, WIDE), caption: VIEWS[n] }))))))]);
}

// What both questions are answered with, drawn; nothing where a newer one has been asked.
async function asked(place, questions, says, draw) {
  try {
    const found = await Promise.all(questions.map(([question, params, slot]) => ask(question, params, { slot, says })));
    if (found.every(Boolean)) place.replaceChildren(...draw(found));
  } catch (error) {
    place.replaceChildren(failed(error));
  }
}
