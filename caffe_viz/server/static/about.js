// Which network it is, and what its numbers depend on; where there are two, which of them is looked at.
import { facts, h } from "./dom.js";
import { go, state, subscribe } from "./state.js";

export function mount(root, { networks, command }) {
  if (networks.length > 1) root.prepend(choice(networks));
  const rows = h("div");
  const about = h("details", { class: "about" }, h("summary", {}, "About this network"), rows);
  document.getElementById("about").append(about);
  subscribe(["net"], () => {
    const { name, engine, prototxt, weights, layers, preprocessing, remarks } = networks[Number(state.net)];
    rows.replaceChildren(
      facts([
        ["network", name], ["layers", String(layers.length)], ["prototxt", prototxt], ["caffemodel", weights],
        ["preprocessing", preprocessing], ["engine", engine], ["started by", command],
      ].filter(([, value]) => value)),
      ...remarks.map((remark) => h("p", { class: "notice" }, remark)),
    );
  });
}

function choice(networks) {
  const select = h("select", { change: () => go({ net: select.value }) },
    networks.map(({ name, weights }, k) => h("option", { value: k }, `${k + 1}: ${file(weights) || name}`)));
  subscribe(["net"], () => { select.value = state.net; });
  return h("label", {}, "Network ", select);
}

const file = (path) => path?.split(/[/\\]/).at(-1);
