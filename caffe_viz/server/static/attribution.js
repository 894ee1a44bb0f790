// Which pixels made a class, or any unit, answer: by any method, as heat over what the network saw.
import { ask } from "./api.js";
import { button, failed, h, number, quiet } from "./dom.js";
import { figure, layered, strength, within } from "./pictures.js";
import { Running } from "./running.js";
import { go, state, subscribe } from "./state.js";

const [WIDE, HIGH] = [176, 176]; // px on the screen

export function mount(root, network) {
  const methods = new Map(network.methods.attribution.map((method) => [method.name, method]));
  const place = h("div", { class: "heats" }), words = h("div");
  const draw = (answer) => {
    place.replaceChildren(...pictured(answer));
    words.replaceChildren(...worded(answer.facts));
  };
  const empty = (why) => {
    place.replaceChildren();
    words.replaceChildren(why);
  };
  const running = new Running(() => {
    const on = button("Go on", show);
    empty(on);
    on.focus();
  });
  root.append(h("div", { class: "why" }, place, h("div", {}, words, running.element, controls(network, methods, show))));

  function show() {
    running.clear();
    if (!state.image) return empty(quiet("Choose an image first."));
    const { net, image, target, method, reads } = state;
    const params = { net, image, target, method, layer: readsLayer(methods.get(method)) ? reads : "" };
    const says = `computing ${method}`;
    if (!methods.get(method)?.long) return quick(params, says);
    empty(quiet(`${method} takes many passes through the network.`));
    running.start("attribution-long", params, { answer: draw }, { says });
  }

  async function quick(params, says) {
    place.setAttribute("aria-busy", "true");
    try {
      const answer = await ask("attribution", params, { says });
      if (!answer) return;
      draw(answer);
    } catch (error) {
      empty(failed(error));
    }
    place.removeAttribute("aria-busy");
  }

  subscribe(["net", "image", "target", "method", "reads"], show);
}

const readsLayer = (method) => method?.reads === "layer";

// `again()` where the same is wanted once more, as after an error.
function controls(network, methods, again) {
  const method = h("select", { change: () => go({ method: method.value }) }, [...methods.values()].map(({ name, long }) =>
    h("option", { value: name }, long ? `${name} (takes long)` : name)));
  const target = h("input", { type: "text", id: "target", autocomplete: "off", placeholder: "the likeliest", list: "target-labels" });
  const labels = h("datalist", { id: "target-labels" });
  const likeliest = button("The likeliest", () => go({ target: "" }));
  const form = h("form", { class: "control", submit: (event) => { event.preventDefault(); target.value.trim() === state.target ? again() : go({ target: target.value.trim() }); } },
    h("label", { for: "target", title: "a class by name or number, a class of another answer (head:3), a filter (conv3:16), a neuron (conv3:16:3,5)" }, "What for "),
    target, labels, h("button", {}, "Show"), likeliest);
  const reads = h("select", { change: () => go({ reads: reads.value }) });
  const layer = h("label", {}, "Maps of ", reads);
  subscribe(["net"], () => {
    const { heads, layers } = network.networks[Number(state.net)];
    labels.replaceChildren(...(heads[0]?.labels ?? []).filter(Boolean).map((label) => h("option", { value: label })));
    const maps = layers.filter(({ shape }) => shape?.length === 3);
    reads.replaceChildren(h("option", { value: "" }, "the usual layer"), ...maps.map(({ name }) => h("option", { value: name }, name)));
  });
  subscribe(["net", "target", "method", "reads"], () => {
    method.value = state.method;
    target.value = state.target;
    reads.value = state.reads;
    likeliest.hidden = state.target === "";
    layer.hidden = !readsLayer(methods.get(state.method));
  });
  return h("div", {}, form, h("p", { class: "control" }, h("label", {}, "Method ", method), layer, strength()));
}

function worded({ target, label, score, method, layer, refused, empty }) {
  const name = label.split(",")[0] || target;
  if (refused) return [h("p", { class: "notice" }, `${method} does not fit here: ${refused}`)];
  const what = empty ? `No pixel speaks for ${name}: the map is 0 everywhere.` : `Bright pixels speak for ${name}.`;
  return [h("p", { role: "status" }, what), quiet([method, layer && `maps of ${layer}`, `score ${number(score)}`].filter(Boolean).join(", "))];
}

function pictured({ pictures, data }) {
  const [heat, seen, colours] = pictures;
  if (!heat) return [];
  const shown = within(heat, WIDE, HIGH);
  return [
    seen ? layered({ below: seen, above: heat, data, shown, caption: "over the image" }) : figure({ ...heat, data, shown, caption: "the map" }),
    colours ? figure({ ...colours, shown, caption: "which colours raise the score" }) : "",
  ];
}
