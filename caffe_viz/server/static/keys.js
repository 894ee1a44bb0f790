// Keys of one letter: every module says which it has, and "?" lists them.
import { button, facts, h } from "./dom.js";

const STORED = "caffe_viz keys"; // one-letter keys disturb speech input, so they can be turned off
const keys = new Map([["?", { says: "show the keys", action: list }]]);

// `says` what the key does; `action` does it.
export function key(name, says, action) {
  keys.set(name, { says, action });
}

export function mount(root) {
  root.append(button("Keys", list, { title: "which keys do what (?)" }));
  addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || !on() || writing(event.target)) return;
    const found = keys.get(event.key);
    if (!found || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    found.action();
  });
}

const on = () => localStorage.getItem(STORED) !== "off";
const writing = (element) => element.matches('input:not([type="range"], [type="checkbox"], [type="radio"]), textarea, select');

function list() {
  const rows = [...keys].map(([name, { says }]) => [h("kbd", {}, name), says]);
  const always = [
    ["Tab", "next control"], ["arrow keys", "move among the maps, the layers found, the images"],
    ["+ - 0", "in the graph: larger, smaller, all of it"], ["Enter", "open the map, layer or image"], ["Esc", "close a large picture"],
  ].map(([name, says]) => [h("kbd", {}, name), says]);
  const turn = h("input", { type: "checkbox", checked: on(), change: () => localStorage.setItem(STORED, turn.checked ? "on" : "off") });
  const dialog = h("dialog", { class: "keys", "aria-labelledby": "keys-title", close: () => dialog.remove() },
    h("h2", { id: "keys-title" }, "Keys"), facts([...rows, ...always]),
    h("label", {}, turn, " Keys of one character work"),
    h("form", { method: "dialog" }, h("button", {}, "Close")));
  document.body.append(dialog);
  dialog.showModal();
}
