// The address of what is on the screen, to keep or to send.
import { button } from "./dom.js";
import { complain, say } from "./status.js";

export function mount(root) {
  root.append(button("Copy the address", copy, { title: "the address of this view: these images, this layer, this unit" }));
}

async function copy() {
  try {
    await navigator.clipboard.writeText(location.href);
    say("The address of this view is on the clipboard. It works while this server runs.");
  } catch {
    complain("The browser does not let this page write to the clipboard: copy the address from its address bar.");
  }
}
