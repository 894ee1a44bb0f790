// "Send as a page": the report of what is on the screen, one HTML file.
import { follow } from "./api.js";
import { button, h } from "./dom.js";
import { state } from "./state.js";
import { complain, say } from "./status.js";

export function mount(root, network) {
  const made = h("span", { role: "status" });
  const send = button("Send as a page", make, { title: "make one HTML file of these images and this layer, which needs no server" });
  root.append(send, made);

  function make() {
    send.disabled = true;
    made.replaceChildren();
    follow("report", { net: state.net, image: state.image, other_image: state.other, layer: state.layer }, {
      answer: ({ data }) => {
        const name = `${network.networks[Number(state.net)].name || "network"}.html`;
        made.replaceChildren(h("a", { href: data, download: name }, "Save the page"));
        say("The page is made: save it and send the file.");
      },
      failed: (error) => complain(error.message),
      ended: () => { send.disabled = false; },
    }, { says: "making the page" });
  }
}
