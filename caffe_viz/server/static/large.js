// A picture as large as the window; arrow keys, or buttons, show the others of the page.
import { button, h } from "./dom.js";

const pictures = new WeakMap(); // of the button that opens it: {shown, alt, width, height}

// -> a button that shows `shown`, an element, and opens it large.
export function opener(shown, { alt, width, height }) {
  const open = button("", () => enlarge(open), { class: "zoom" });
  open.append(shown);
  pictures.set(open, { shown, alt, width, height });
  return open;
}

const all = () => [...document.querySelectorAll(".zoom")].filter((open) => open.offsetParent !== null);

function enlarge(first) {
  const words = h("p", { role: "status" }), canvas = h("div", { class: "canvas" });
  let current = first;

  function show(open) {
    current = open;
    const { shown, alt, width, height } = pictures.get(open);
    const copy = shown.cloneNode(true);
    copy.style.setProperty("--ratio", width / height);
    words.textContent = alt;
    dialog.setAttribute("aria-label", alt);
    canvas.replaceChildren(copy);
  }

  function step(by) {
    const every = all(), next = every[every.indexOf(current) + by];
    if (next) show(next);
  }

  const keys = { ArrowLeft: -1, ArrowRight: 1 };
  const move = (event) => {
    if (!(event.key in keys)) return;
    event.preventDefault();
    step(keys[event.key]);
  };
  const close = () => {
    dialog.remove();
    current.focus();
    current.scrollIntoView({ block: "nearest" });
  };
  const dialog = h("dialog", { class: "large", close, keydown: move },
    h("form", { method: "dialog", class: "bar" },
      button("←", () => step(-1), { "aria-label": "previous picture" }), button("→", () => step(1), { "aria-label": "next picture" }),
      words, h("button", {}, "Close")),
    canvas);
  dialog.addEventListener("click", (event) => event.target.closest(".bar") || dialog.close());
  show(first);
  document.body.append(dialog);
  dialog.showModal();
}
