// Which pixels drive a unit, by three methods that read gradients: at its strongest place, or its whole map.
import { ask } from "./api.js";
import { around } from "./around.js";
import { failed, h, quiet } from "./dom.js";
import { cropped, figure } from "./pictures.js";
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
    const { net, image } = state, { layer, unit, at, box, shape } = facts;
    const one = shape.length === 3 && state.spot === "";
    const place = one ? `:${at.join(",")}` : "";
    choice.hidden = shape.length !== 3;
    spot.value = state.spot;
    for (const each of boxes) explain(each, { net, image, target: `${layer}:${unit}${place}`, method: each.method }, one ? box : null);
  });

  subscribe(["spot"], () => facts && show());
  return { of: (told) => { facts = told; show(); } };
}

// `sees`: what the place sees of the input, where it is one.
async function explain({ method, caption, box }, params, sees) {
  try {
    const answer = await ask("attribution", params, { slot: `pixels ${method}`, says: `computing the ${caption} of the unit` });
    if (!answer) return;
    const { facts: { refused, empty, size }, pictures, data } = answer;
    if (refused) return box.replaceChildren(quiet(`Not by ${caption}: ${refused}`));
    const picture = { ...(pictures[COLOURS] ?? pictures[HEAT]), data };
    box.replaceChildren(shown(picture, empty ? `${caption}: 0 everywhere` : caption, size, sees));
  } catch (error) {
    box.replaceChildren(failed(error));
  }
}

// `size` is that of the input, [height, width]; its pixels may be several in the picture.
function shown(picture, caption, [high, wide], sees) {
  const part = sees ? around(sees, { width: wide, height: high }) : { width: wide, height: high };
  if (part.width === wide && part.height === high) return figure({ ...picture, caption });
  const { left, top, width, height } = part, scale = picture.width / wide;
  const where = `rows ${top} to ${top + height}, columns ${left} to ${left + width}; saved whole`;
  const scaled = Object.fromEntries(Object.entries(part).map(([name, value]) => [name, scale * value]));
  return cropped({ ...picture, caption: `${caption}: ${where}` }, scaled);
}
