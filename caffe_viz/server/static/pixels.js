// Which pixels drive a unit, by three methods that read gradients: at its strongest place, or its whole map.
import { ask } from "./api.js";
import { failed, h, quiet } from "./dom.js";
import { figure } from "./pictures.js";
import { whenSeen } from "./seen.js";
import { go, state, subscribe } from "./state.js";

const METHODS = { gradient: "gradient", "guided-backprop": "guided backpropagation", deconvnet: "deconvnet" };
const HEAT = 0, COLOURS = 2; // which of the pictures of an attribution

// -> {of(facts)}: shows the unit of which the question `unit` said these facts.
export function mount(root) {
  const views = h("div", { class: "views" });
  const spot = h("select", { change: () => go({ spot: spot.value }, { replace: true }) },
    h("option", { value: "" }, "its strongest place"), h("option", { value: "map" }, "its whole map"));
  const choice = h("p", { class: "control" }, h("label", {}, "Of ", spot));
  root.append(choice, views);
  const boxes = Object.entries(METHODS).map(([method, caption]) => ({ method, caption, box: h("div") }));
  views.append(...boxes.map(({ box }) => box));
  let facts = null;

  const show = whenSeen(root, () => {
    const { net, image } = state, { layer, unit, at, shape } = facts;
    const place = shape.length === 3 && state.spot === "" ? `:${at.join(",")}` : "";
    choice.hidden = shape.length !== 3;
    spot.value = state.spot;
    for (const one of boxes) explain(one, { net, image, target: `${layer}:${unit}${place}`, method: one.method });
  });

  subscribe(["spot"], () => facts && show());
  return { of: (told) => { facts = told; show(); } };
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
