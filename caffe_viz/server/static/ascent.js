// What maximises the unit: an ascent that one sees growing.
import { Climbing, settings, SETTINGS } from "./climbing.js";
import { button, h, quiet } from "./dom.js";
import { unitOf } from "./grammar.js";
import { key } from "./keys.js";
import { go, state, subscribe } from "./state.js";

export function mount(root, network) {
  const climbing = new Climbing("ascent", () => {
    go({ climbing: "" }, { replace: true });
    begin.focus();
  }, () => go({ climbing: "" }, { replace: true }));
  const begin = button("", () => {
    climbing.call();
    go({ climbing: 1 }, { replace: true });
  }, { class: "main" });
  const about = quiet("An image of noise is changed step by step until this unit answers as strongly as it can.");
  const body = h("div", {}, h("p", { class: "control" }, begin), about, settings(network), climbing.element);
  const cannot = quiet("It comes before all layers that compute, so there is nothing to maximise.");
  root.append(body, cannot);

  function show() {
    const { net, layer, unit } = state;
    const able = network.networks[Number(net)].layers.find(({ name }) => name === layer)?.climbs ?? false;
    body.hidden = !able;
    cannot.hidden = able || unit === "";
    const objective = unitOf(layer, unit);
    if (climbing.objective !== objective || !able) climbing.clear();
    begin.textContent = climbing.again || `Show what maximises ${objective}`;
    begin.hidden = about.hidden = state.climbing !== "";
    if (able && unit !== "" && state.climbing) climbing.start(objective);
  }

  subscribe(["net", "layer", "unit", "climbing", ...SETTINGS], show);
  key("m", "show what maximises the unit", () => begin.checkVisibility() && begin.click());
}
