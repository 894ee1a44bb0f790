// The places of the photographs that activate a unit most.
import { follow } from "./api.js";
import { failed, h, number, quiet } from "./dom.js";
import { figure } from "./pictures.js";
import { whenSeen } from "./seen.js";
import { state, subscribe } from "./state.js";

const HOW = "Start caffe-viz serve with --photos FOLDER to see which parts of your photos activate this unit most.";

export function mount(root, network) {
  const about = quiet(""), crops = h("div", { class: "grid" });
  root.append(about, crops);
  let search = null;

  function show() {
    search?.cancel();
    crops.replaceChildren();
    if (!network.photos) return void (about.textContent = HOW);
    const { net, layer, unit } = state;
    if (unit === "" || document.hidden) return;
    about.textContent = "Searching your photos …";
    search = follow("places", { net, layer, unit }, {
      progress: ({ facts, pictures }) => facts && fill(facts, pictures, "so far"),
      answer: ({ facts, pictures, data }) => fill(facts, pictures, "", data),
      failed: (error) => crops.replaceChildren(failed(error)),
    }, { says: `searching the photos for what activates ${layer}` });
  }

  function fill({ seen, state: when, places, dead }, pictures, sofar, data = "") {
    const silent = dead?.includes?.(Number(state.unit)) || !places.length;
    about.textContent = [`${number(seen)} photos looked at`, sofar, when].filter(Boolean).join(", ")
      + (silent && !sofar ? ": it is active in none of them." : ".");
    crops.replaceChildren(...pictures.map((picture, k) =>
      figure({ ...picture, data: k === 0 ? data : "", caption: caption(places[k]) })));
  }

  const change = whenSeen(root, show);
  subscribe(["net", "layer", "unit"], change);
  // A tab that nobody looks at lets others search.
  document.addEventListener("visibilitychange", () => (document.hidden ? search?.cancel() : network.photos && change()));
}

const caption = ({ image, value }) => `${number(value)} in ${image.split("/").at(-1)}`;
