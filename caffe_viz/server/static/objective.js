// An image that maximises whatever one writes, in the grammar of `ascend --objective`.
import { Climbing, settings, SETTINGS } from "./climbing.js";
import { button, h, quiet } from "./dom.js";
import { named, unitOf } from "./grammar.js";
import { go, state, subscribe } from "./state.js";

export function mount(root, network) {
  const climbing = new Climbing("objective");
  const text = h("input", { type: "text", id: "objective-text", autocomplete: "off", spellcheck: "false", required: true });
  const form = h("form", { class: "control", submit: (event) => { event.preventDefault(); submit(); } },
    h("label", { for: "objective-text" }, "Maximise "), text, h("button", { class: "main" }, "Go"));
  const examples = h("p", { class: "examples" });
  root.append(quiet("Write what the image shall have more of: a class, a filter, sums and differences of them. An image of noise is changed until there is as much of it as there can be."),
    form, examples, settings(network), climbing.element);

  function submit() {
    const wanted = text.value.trim();
    if (wanted === state.objective) show();
    else go({ objective: wanted });
  }

  function show() {
    text.value = state.objective;
    if (state.objective) climbing.start(state.objective, state.objective);
    else climbing.clear();
  }

  const suggest = () => examples.replaceChildren("For example: ", ...suggested(network.networks[Number(state.net)]).flatMap((example) =>
    [button(example, () => go({ objective: example })), " "]));
  subscribe(["net", "layer", "unit"], suggest);
  subscribe(["net", "objective", ...SETTINGS], show);
}

// That fit this network and what is open.
function suggested({ layers, heads }) {
  const climbed = layers.filter(({ climbs, units }) => climbs && units);
  const layer = climbed.find(({ name }) => name === state.layer) ?? climbed.find(({ maps }) => maps) ?? climbed[0];
  const [first, second] = heads[0]?.labels ?? [];
  const unit = Number(state.unit || 0);
  return [
    first && second && `${label(first)} - ${label(second)}`,
    layer && unitOf(layer.name, unit),
    layer && unit + 1 < layer.units && `${unitOf(layer.name, unit)} + ${unitOf(layer.name, unit + 1)}`,
    layer?.maps && named(layer.name),
  ].filter(Boolean);
}

const label = (text) => named(text.split(",")[0].trim());
