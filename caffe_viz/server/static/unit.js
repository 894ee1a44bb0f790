// The panel of a unit: what it makes of the image, its numbers, its neighbours.
import { ask } from "./api.js";
import { button, facts, failed, h, number, percent, quiet } from "./dom.js";
import { key } from "./keys.js";
import * as kernel from "./kernel.js";
import { figure } from "./pictures.js";
import * as places from "./places.js";
import * as pixels from "./pixels.js";
import { go, state, subscribe } from "./state.js";
import { say } from "./status.js";

const HOW = "Click a map, or open one by its number: then you see here what it likes: where in the image it is active, "
  + "an input that maximises it, and its weights.";
const CAPTIONS = ["its map", "over the image", "what its strongest place sees"];

export function mount(root, network) {
  const title = root.querySelector("h2"), seen = root.querySelector("#seen");
  const [before, after] = [button("← previous", () => step(-1)), button("next →", () => step(1))];
  seen.before(h("p", { class: "control steps", hidden: true }, before, after));
  const steps = root.querySelector(".steps"), parts = [...root.querySelectorAll("section")];
  kernel.mount(root.querySelector("#kernel"), network);
  const driving = pixels.mount(root.querySelector("#gradients"));
  places.mount(root.querySelector("#places"), network);

  const units = () => network.networks[Number(state.net)].layers.find(({ name }) => name === state.layer)?.units ?? 0;
  function step(by) {
    const to = Number(state.unit) + by;
    if (state.unit !== "" && to >= 0 && to < units()) go({ unit: to });
  }

  async function show() {
    const chosen = state.unit !== "";
    for (const part of [steps, ...parts]) part.hidden = !chosen;
    root.querySelector("#gradients").hidden = !chosen || !state.image;
    before.disabled = Number(state.unit) <= 0;
    after.disabled = Number(state.unit) >= units() - 1;
    title.textContent = chosen ? `Unit ${state.unit} of ${state.layer}` : "Unit";
    if (!chosen) return seen.replaceChildren(quiet(HOW));
    if (!state.image) return seen.replaceChildren(quiet("Choose an image to see what this unit makes of it."));
    const { net, layer, image, unit } = state;
    try {
      const answer = await ask("unit", { net, layer, image, unit }, { says: `looking at unit ${unit} of ${layer}` });
      if (!answer || layer !== state.layer || unit !== state.unit) return;
      seen.replaceChildren(...described(answer));
      driving.of(answer.facts);
      title.textContent = [`Unit ${unit} of ${layer}`, answer.facts.label].filter(Boolean).join(": ");
      say(title.textContent);
    } catch (error) {
      seen.replaceChildren(failed(error));
    }
  }

  subscribe(["net", "layer", "unit", "image"], show);
  key(",", "previous unit", () => step(-1));
  key(".", "next unit", () => step(1));
}

const described = (answer) => [
  h("div", { class: "views" }, answer.pictures.slice(0, answer.facts.dead ? 2 : 3).map((picture, k) =>
    figure({ ...picture, caption: CAPTIONS[k], data: k === 0 ? answer.data : "" }))),
  answer.facts.dead ? quiet("It is not active anywhere in this image. What it likes is below.") : "",
  facts(rows(answer.facts)),
  ...answer.facts.notes.map(quiet),
].filter(Boolean);

function rows({ min, mean, max, zeros, dead, at, box, field, shape: [, ...map] }) {
  const where = [
    !dead && ["strongest at", `row ${at[0]}, column ${at[1]} of its map`],
    !dead && box && ["which sees", `rows ${box[0]} to ${box[2]}, columns ${box[1]} to ${box[3]} of the image`],
    field && ["each place sees", `${sides(field.size)} pixels, one place every ${sides(field.stride)}`],
  ];
  const values = [
    ["its map", map.join(" x ")],
    ["values", `${number(min)} to ${number(max)}, on average ${number(mean)}`],
    ["not active (0)", percent(zeros)],
  ];
  if (map.every((side) => side === 1)) return [["its value", number(max)]];
  return [...values, ...(at.length === 2 ? where : [])].filter(Boolean);
}

const sides = ([high, wide]) => `${number(high)} x ${number(wide)}`;
