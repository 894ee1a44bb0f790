// All maps of the layer for the image, as a grid of buttons; each opens its unit.
import { ask } from "./api.js";
import { failed, h, quiet, reveal } from "./dom.js";
import { mapbar, vector } from "./mapbar.js";
import { go, state, subscribe } from "./state.js";
import { Tiles } from "./tiles.js";

const HOW = "Choose an image above, drop one on this page or paste one: then you see here what each filter of this layer makes of it.";

export function mount(root) {
  const title = root.querySelector("h2"), place = h("div", { class: "place" });
  const bar = mapbar(choose, place), tiles = new Tiles(place, choose);
  root.append(...bar.elements, place);
  let strength = null; // of each unit that is shown

  function choose(unit) {
    go({ unit });
    reveal(document.getElementById("unit"));
  }

  async function show() {
    const { net, layer, image } = state;
    if (!image) return empty(quiet(HOW));
    place.setAttribute("aria-busy", "true");
    try {
      const answer = await ask("maps", { net, layer, image }, { slot: "maps", says: `computing the maps of ${layer}` });
      if (!answer || !(await tiles.load(answer))) return;
      title.textContent = `${vector(answer.facts) ? "Values" : "Maps"} of ${layer}`;
      bar.show(answer, layer);
      tiles.draw(answer, title.textContent);
      strength = answer.facts.strength;
      arrange();
    } catch (error) {
      empty(failed(error));
    }
    place.removeAttribute("aria-busy");
  }

  function empty(why) {
    strength = null;
    title.textContent = `Maps of ${state.layer}`;
    bar.hide();
    tiles.clear(why);
    place.removeAttribute("aria-busy");
  }

  function arrange() {
    if (strength) tiles.arrange(state.order === "strength" ? byStrength(strength) : null);
    tiles.mark(state.unit);
  }

  subscribe(["net", "layer", "image"], show);
  subscribe(["order", "unit"], arrange);
}

// Units by the mean of their map, the largest first.
const byStrength = (strength) => [...strength.keys()].sort((a, b) => (strength[b] ?? -Infinity) - (strength[a] ?? -Infinity));
