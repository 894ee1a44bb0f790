// All maps of the layer for the image, as a grid of buttons; each opens its unit.
import { ask } from "./api.js";
import { failed, h, number, percent, quiet, reveal } from "./dom.js";
import { go, state, subscribe } from "./state.js";
import { Tiles } from "./tiles.js";

export function mount(root) {
  const title = root.querySelector("h2");
  const about = h("p", { class: "quiet" }), saves = h("span", { class: "saves" }), place = h("div", { class: "place" });
  const order = h("select", { change: () => go({ order: order.value }, { replace: true }) },
    h("option", { value: "number" }, "by number"), h("option", { value: "strength" }, "by strength"));
  const wanted = h("input", { type: "number", min: 0, required: true });
  const open = h("form", { submit: (event) => { event.preventDefault(); choose(wanted.value); } },
    h("label", {}, "Unit ", wanted), " ", h("button", {}, "Open"));
  const control = h("div", { class: "control", hidden: true }, h("label", {}, "Order ", order), open, saves);
  root.append(about, control, place);
  const tiles = new Tiles(place, choose);
  let shown = null;

  function choose(unit) {
    go({ unit });
    reveal(document.getElementById("unit"));
  }

  async function show() {
    if (!state.layer || !state.image) return empty(quiet("Choose an image above, drop one on this page or paste one: then you see here what each filter of this layer makes of it."));
    place.setAttribute("aria-busy", "true");
    const { net, layer, image } = state;
    try {
      const answer = await ask("maps", { net, layer, image }, { slot: "maps", says: `computing the maps of ${layer}` });
      if (!answer || !(await tiles.load(answer))) return;
      shown = answer;
      describe();
      tiles.draw(answer, title.textContent);
      arrange();
    } catch (error) {
      empty(failed(error));
    }
    place.removeAttribute("aria-busy");
  }

  function describe() {
    const { facts, data, pictures } = shown;
    title.textContent = `${vector(facts) ? "Values" : "Maps"} of ${state.layer}`;
    about.textContent = [words(facts), ...facts.notes].join(" ");
    control.hidden = false;
    wanted.max = facts.count - 1;
    saves.replaceChildren(...pictures.slice(0, 1).map(({ src, name }) => h("a", { href: src, download: name, "aria-label": "save the picture of the maps" }, "save")),
      data ? h("a", { href: data, download: state.layer, "aria-label": "save the data of the maps" }, "data") : "");
  }

  function empty(why) {
    shown = null;
    title.textContent = `Maps of ${state.layer}`;
    about.textContent = "";
    control.hidden = true;
    place.removeAttribute("aria-busy");
    tiles.clear(why);
  }

  function arrange() {
    order.value = state.order;
    if (shown) tiles.arrange(state.order === "strength" ? byStrength(shown.facts.strength) : null);
    tiles.mark(state.unit);
  }

  subscribe(["net", "layer", "image"], show);
  subscribe(["order", "unit"], arrange);
}

// Units by the mean of their map, the largest first.
const byStrength = (strength) => [...strength.keys()].sort((a, b) => (strength[b] ?? -Infinity) - (strength[a] ?? -Infinity));

const vector = ({ tile: [width, height] }) => width * height === 1;

function words(facts) {
  const { count, shown, shape, state: when, low, high, statistics: s } = facts;
  const what = vector(facts) ? `${number(count)} values` : `${number(count)} maps of ${shape.slice(1).join(" x ")}`;
  const part = shown < count ? `, of which the first ${shown} are shown` : "";
  return `${[what, when].filter(Boolean).join(", ")}${part}. Black is ${number(low)}, white is ${number(high)}; `
    + `mean ${number(s.mean)}, rms ${number(s.rms)}; ${percent(s.nonzero)} of the values are not 0.`;
}
