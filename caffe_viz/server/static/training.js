// The record of a training: its curves, and the kernels at every moment that it kept.
import { ask } from "./api.js";
import { failed, h, quiet } from "./dom.js";
import { figure } from "./pictures.js";
import { whenSeen } from "./seen.js";
import { go, state, subscribe } from "./state.js";

export function mount(root, network) {
  if (!network.record) return;
  root.hidden = false;
  document.querySelector('nav a[href="#training"]').hidden = false;
  const place = h("div");
  root.append(place);
  let choose = () => {};

  async function show() {
    try {
      const answer = await ask("training", {}, { says: "reading the record of the training" });
      if (!answer) return;
      const { facts: { curves, layer, moments, note }, pictures, data } = answer;
      const frames = film(layer, moments, pictures.slice(curves.length), data);
      choose = frames.choose;
      place.replaceChildren(note ? h("p", { class: "notice" }, note) : "", frames.element,
        h("div", { class: "curves" }, curves.map((caption, k) => figure({ ...pictures[k], caption: `${caption} ` }))));
      choose();
    } catch (error) {
      place.replaceChildren(failed(error));
    }
  }

  whenSeen(root, show)();
  subscribe(["moment"], () => choose());
}

// The slider shows one frame after the other; the address has the iteration.
function film(layer, moments, pictures, data) {
  if (!moments.length) return { element: quiet("The record has no kernels."), choose: () => {} };
  const words = moments.map(String), last = words.length - 1;
  const frames = pictures.map((picture, k) => figure({ ...picture, data, caption: `after iteration ${words[k]} ` }));
  const moment = h("output");
  const slider = h("input", { type: "range", min: 0, max: last, input: () => go({ moment: words[slider.value] }, { replace: true }) });
  const choose = () => {
    const at = words.includes(state.moment) ? words.indexOf(state.moment) : last;
    slider.value = at;
    slider.setAttribute("aria-valuetext", `iteration ${words[at]}`);
    moment.textContent = words[at];
    for (const [k, frame] of frames.entries()) frame.hidden = k !== at;
  };
  const element = h("div", { class: "film" }, h("label", { class: "control" }, `Kernels of ${layer} after iteration `, moment, " ", slider), frames);
  return { element, choose };
}
