// Above the maps: what they are, in words; their order and brightness; a unit by its number; to save.
import { h, number, percent } from "./dom.js";
import { key } from "./keys.js";
import { go, state, subscribe } from "./state.js";

// `choose(unit)` opens one; `place` is where the maps are. -> {elements, show(answer, layer), hide()}
export function mapbar(choose, place) {
  const about = h("p", { class: "quiet" }), saves = h("span", { class: "saves" });
  const order = h("select", { change: () => go({ order: order.value }, { replace: true }) },
    h("option", { value: "number" }, "by number"), h("option", { value: "strength" }, "by strength"));
  const wanted = h("input", { type: "number", min: 0, required: true });
  const open = h("form", { submit: (event) => { event.preventDefault(); choose(wanted.value); focusUnit(); } },
    h("label", {}, "Unit ", wanted), " ", h("button", {}, "Open"));
  const bright = h("input", { type: "range", min: 1, max: 10, step: 0.5, input: () => go({ bright: bright.value }, { replace: true }) });
  const brightness = h("label", { title: "for maps in which little is bright" }, "Brightness ", bright);
  const control = h("div", { class: "control", hidden: true }, h("label", {}, "Order ", order), open, brightness, saves);
  let facts = null;

  function light() {
    bright.value = state.bright;
    place.style.setProperty("--bright", bright.value);
    if (facts) about.textContent = [words(facts, Number(bright.value)), ...facts.notes].join(" ");
  }

  key("u", "open a unit by its number", () => wanted.focus());
  subscribe(["order"], () => { order.value = state.order; });
  subscribe(["bright"], light);
  return {
    elements: [about, control],
    show(answer, layer) {
      facts = answer.facts;
      control.hidden = false;
      brightness.hidden = vector(facts);
      wanted.max = facts.count - 1;
      saves.replaceChildren(
        h("a", { href: answer.pictures[0].src, download: answer.pictures[0].name, "aria-label": "save the picture of the maps" }, "save"),
        h("a", { href: answer.data, download: layer, "aria-label": "save the data of the maps" }, "data"));
      light();
    },
    hide() {
      facts = null;
      control.hidden = true;
      about.textContent = "";
    },
  };
}

// From here Tab goes on to what the unit shows.
const focusUnit = () => document.getElementById("unit").focus({ preventScroll: true });

export const vector = ({ tile: [width, height] }) => width * height === 1;

function words(facts, times) {
  const { count, shown, shape, state: when, low, high, statistics: s } = facts;
  const what = vector(facts) ? `${number(count)} values` : `${number(count)} maps of ${shape.slice(1).join(" x ")}`;
  const part = shown < count ? `, of which the first ${shown} are shown` : "";
  const white = vector(facts) ? number(high) : `${number(low + (high - low) / times)}${times > 1 ? " and more" : ""}`;
  return `${[what, when].filter(Boolean).join(", ")}${part}. Black is ${number(low)}, white is ${white}; `
    + `mean ${number(s.mean)}, rms ${number(s.rms)}; ${percent(s.nonzero)} of the values are not 0.`;
}
