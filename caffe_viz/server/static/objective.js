// An image that maximises whatever one writes, in the grammar of `ascend --objective`.
import { Climbing, settings, SETTINGS } from "./climbing.js";
import { button, h, quiet } from "./dom.js";
import { named, unitOf } from "./grammar.js";
import { go, state, subscribe } from "./state.js";

const ABOUT = "Write what an image should have more of: a class, a filter, sums and differences of them. An image of noise is changed step by step until it has as much of it as it can.";

export function mount(root, network) {
  const begin = h("button", { class: "main" }, "Go");
  const climbing = new Climbing("objective", () => { begin.textContent = "Go on"; begin.focus(); });
  const text = h("input", { type: "text", id: "objective-text", autocomplete: "off", spellcheck: "false", required: true });
  const form = h("form", { class: "control", submit: (event) => { event.preventDefault(); submit(text.value.trim()); } },
    h("label", { for: "objective-text" }, "Maximise "), text, begin);
  const examples = h("p", { class: "examples control" });
  root.append(quiet(ABOUT), form, examples, settings(network), climbing.element);

  function submit(objective) {
    climbing.call();
    if (objective === state.objective) show();
    else go({ objective });
  }

  function show() {
    begin.textContent = "Go";
    text.value = state.objective;
    if (state.objective) climbing.start(state.objective);
    else climbing.clear();
  }

  const suggest = () => examples.replaceChildren("For example", ...suggested(network.networks[Number(state.net)]).map((example) =>
    button(example, () => submit(example))));
  subscribe(["net", "layer", "unit"], suggest);
  subscribe(["net", "objective", ...SETTINGS], show);
}

// What fits this network and what is open.
function suggested({ layers, heads }) {
  const climbed = layers.filter(({ climbs }) => climbs);
  const layer = climbed.find(({ name }) => name === state.layer) ?? climbed[0];
  const [first, second] = (heads[0]?.labels ?? []).filter(Boolean).map((label) => named(label.split(",")[0].trim()));
  const unit = Number(state.unit || 0);
  return [
    second && `${first} - ${second}`,
    layer && unitOf(layer.name, unit),
    layer && unit + 1 < layer.units && `${unitOf(layer.name, unit)} + ${unitOf(layer.name, unit + 1)}`,
    layer?.shape.length === 3 && named(layer.name),
  ].filter(Boolean);
}
