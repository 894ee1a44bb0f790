// An ascent that one sees growing: its settings, its pictures, its curve. For the unit and for any objective.
import { h, number, quiet } from "./dom.js";
import { curve } from "./curve.js";
import { figure } from "./pictures.js";
import { Running } from "./running.js";
import { go, state, subscribe } from "./state.js";

const SAYS = {
  natural: "natural: like photographs", regularised: "regularised: smooth", plain: "plain: nothing but the gradient",
};
export const SETTINGS = ["climb", "steps", "pictures", "seed"];

// `stopped()` when the reader stops it, `broke()` when it fails: the same can be started again then.
export class Climbing {
  constructor(slot, stopped, broke = () => {}) {
    this.slot = slot;
    this.asked = ""; // what is shown, or comes
    this.again = ""; // what a button says that starts it again, where it came to no end
    this.called = false; // whether the reader has just asked for it
    this.place = h("div", { class: "grid climbs" });
    this.curve = h("div");
    this.words = h("p", { role: "status", class: "quiet" });
    this.running = new Running(() => { this.again = "Go on"; stopped(); }, () => { this.again = "Try again"; broke(); });
    this.element = h("div", { class: "climbing" }, this.running.element, this.words, this.place, this.curve);
  }

  // Shows it growing; the same again after a stop goes on where it was.
  start(objective) {
    const params = { net: state.net, objective, method: state.climb, steps: state.steps, pictures: state.pictures, seed: state.seed };
    const asked = JSON.stringify(params);
    if (asked === this.asked && !this.again) return this.#reveal();
    if (asked !== this.asked) this.clear();
    Object.assign(this, { objective, asked, again: "" });
    this.running.start("ascent", params, {
      progress: ({ facts, pictures }) => this.#grow(facts, pictures),
      answer: (answer) => this.#finish(answer),
    }, { slot: this.slot, says: `looking for what maximises ${objective}` });
  }

  clear() {
    this.running.clear();
    Object.assign(this, { asked: "", again: "" });
    this.words.textContent = "";
    this.place.replaceChildren();
    this.curve.replaceChildren();
  }

  // The reader asks for it: its first picture is brought before the eyes.
  call() {
    this.called = true;
  }

  // The pictures are replaced where they stand, so that nothing jumps.
  #grow(facts, pictures) {
    if (!pictures?.length) return;
    const figures = this.place.children;
    if (figures.length !== pictures.length) this.#show(facts, pictures, "");
    for (const [k, { src }] of pictures.entries()) {
      figures[k].querySelector("img").src = src;
      figures[k].querySelector("figcaption").firstChild.textContent = caption(facts, k);
    }
    this.#draw(facts);
  }

  #finish({ facts, pictures, data }) {
    this.#show(facts, pictures, data);
    this.#draw(facts);
    const { dead = [], faded = [], method, engine, size } = facts;
    const trouble = dead.length ? `No gradient from any start: nothing raises ${this.objective} here. Try another seed or more starts.`
      : faded.length ? "The gradient faded away before the end." : "";
    this.words.textContent = [`${method}${size ? `, ${[size].flat().join(" x ")} pixels` : ""}${engine ? `, computed with ${engine}` : ""}.`, trouble].filter(Boolean).join(" ");
  }

  #show(facts, pictures, data) {
    this.place.replaceChildren(...pictures.map((picture, k) => figure({ ...picture, data: k === 0 ? data : "", caption: caption(facts, k) })));
    this.#reveal();
  }

  #reveal() {
    if (this.called) this.place.scrollIntoView({ block: "nearest" });
    this.called = false;
  }

  #draw({ curve: lines }) {
    if (lines?.length) this.curve.replaceChildren(curve(lines, Number(state.steps), `how much ${this.objective} is there, step by step`));
  }
}

const caption = ({ values }, k) => `${values.length > 1 ? `start ${k + 1}: ` : ""}reaches ${number(values[k])}`;

// Fields for how it is climbed; the state has their values.
export function settings(network) {
  const methods = Object.keys(network.methods.ascent);
  const method = h("select", { change: () => go({ climb: method.value, steps: network.methods.ascent[method.value] }, { replace: true }) },
    methods.map((name) => h("option", { value: name }, SAYS[name] ?? name)));
  const field = (name, min, max) => {
    const input = h("input", { type: "number", min, max, required: true, change: () => input.reportValidity() && go({ [name]: input.value }, { replace: true }) });
    return input;
  };
  const fields = { climb: method, steps: field("steps", 1, 2048), pictures: field("pictures", 1, 8), seed: field("seed", 0, 2 ** 31 - 1) };
  subscribe(SETTINGS, () => { for (const [name, input] of Object.entries(fields)) input.value = state[name]; });
  const { steps, pictures, seed } = fields;
  return h("details", { class: "settings" }, h("summary", {}, "How"), h("div", { class: "control" },
    h("label", {}, "Method ", method), h("label", {}, "Steps ", steps), h("label", {}, "Starts ", pictures), h("label", {}, "Seed ", seed)),
    quiet("More starts show more sides of it; another seed begins elsewhere."));
}
