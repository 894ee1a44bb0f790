// The second image, which the first is compared with.
import * as collection from "./collection.js";
import { button, h } from "./dom.js";
import { go, state, subscribe } from "./state.js";

export function mount(root) {
  const select = h("select", { change: () => go({ other: select.value }) });
  const swap = button("Swap", () => go({ image: state.other, other: state.image }));
  const link = h("a", { href: "#compare" }, "See both");
  const picture = h("img", { width: 48, height: 48, alt: "" });
  root.append(h("p", { class: "control second" }, h("label", {}, "Compare with ", select), picture, link, swap,
    button("Keep this one to compare", () => go({ other: state.image }))));

  async function show() {
    link.hidden = swap.hidden = picture.hidden = !state.other;
    if (state.other) {
      picture.src = collection.thumbnail(state.other);
      await collection.named(state.other).catch(() => {}); // compare.js says what is wrong
    }
    const images = collection.all();
    if (state.other && !images.some(({ id }) => id === state.other)) images.push({ id: state.other, name: collection.nameOf(state.other) });
    select.replaceChildren(...[{ id: "", name: "no other image" }, ...images].map(({ id, name }) => h("option", { value: id }, name)));
    select.value = state.other;
  }

  collection.onMore(show);
  subscribe(["other"], show);
}
