// Which pixels drive a unit, by three methods that read gradients.
import { ask } from "./api.js";
import { failed, h, quiet } from "./dom.js";
import { figure } from "./pictures.js";
import { state, subscribe } from "./state.js";

const METHODS = { gradient: "gradient", "guided-backprop": "guided backpropagation", deconvnet: "deconvnet" };
const HEAT = 0, COLOURS = 2; // which of the pictures of an attribution

export function mount(root) {
  const title = root.firstElementChild;
  const views = h("div", { class: "views" });
  root.append(views);
  const boxes = Object.entries(METHODS).map(([method, caption]) => ({ method, caption, box: h("div") }));

  function show() {
    const { net, layer, unit, image } = state;
    if (unit === "") return;
    if (!image) return root.replaceChildren(title, quiet("Choose an image first."));
    root.replaceChildren(title, views);
    views.replaceChildren(...boxes.map(({ box }) => box));
    for (const one of boxes) explain(one, { net, image, target: `${layer}:${unit}`, method: one.method });
  }

  subscribe(["net", "layer", "unit", "image"], show);
}

async function explain({ method, caption, box }, params) {
  try {
    const answer = await ask("attribution", params, { slot: `pixels ${method}`, says: `computing the ${caption} of the unit` });
    if (!answer) return;
    const { facts: { refused, empty }, pictures, data } = answer;
    if (refused) return box.replaceChildren(quiet(`Not by ${caption}: ${refused}`));
    const picture = pictures[COLOURS] ?? pictures[HEAT];
    box.replaceChildren(figure({ ...picture, data, caption: empty ? `${caption}: 0 everywhere` : caption }));
  } catch (error) {
    box.replaceChildren(failed(error));
  }
}
