// The weights of a unit.
import { ask } from "./api.js";
import { facts, failed, number, percent, quiet } from "./dom.js";
import { figure } from "./pictures.js";
import { whenSeen } from "./seen.js";
import { state, subscribe } from "./state.js";

export function mount(root, network) {
  const title = root.firstElementChild;
  const fill = (...parts) => root.replaceChildren(title, ...parts);

  async function show() {
    const { net, layer, unit } = state;
    if (unit === "") return;
    if (!network.networks[Number(net)].layers.find(({ name }) => name === layer)?.params) return fill(quiet("This layer has no weights."));
    try {
      const answer = await ask("kernel", { net, layer, unit }, { says: `drawing the weights of unit ${unit}` });
      if (answer) fill(...answer.pictures.map((picture) => figure({ ...picture, data: answer.data })), facts(rows(answer.facts)));
    } catch (error) {
      fill(failed(error));
    }
  }

  subscribe(["net", "layer", "unit"], whenSeen(root, show));
}

const rows = ({ shape, bias, min, mean, max, norm, zeros }) => [
  ["weights", shape.join(" x ")],
  ["values", `${number(min)} to ${number(max)}, on average ${number(mean)}`],
  ["norm", number(norm)],
  ["are 0", percent(zeros)],
  ["bias", number(bias)],
];
