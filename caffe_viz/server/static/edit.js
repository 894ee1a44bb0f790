// Shift, turn, cover, crop: every change is an image of its own, which goes to the net.
import * as collection from "./collection.js";
import { address, Failure } from "./api.js";
import { TOOLS } from "./brushes.js";
import { button, h, quiet } from "./dom.js";
import { draw, UNCHANGED } from "./edited.js";
import { newest } from "./newest.js";
import { settled } from "./settling.js";
import { go, state, subscribe } from "./state.js";
import { complain } from "./status.js";

const SIDE = 1024; // px of what is edited
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

// In the place of what `root` has, while it is open; the button that opens it stands among `tools`.
export function mount(root, tools) {
  const editor = new Editor((open) => root.classList.toggle("editing", open));
  tools.append(editor.turn);
  root.append(editor.element);
  subscribe(["image"], () => editor.follow());
}

class Editor {
  edit = UNCHANGED;
  original = null; // the picture that is edited; `id` is its image, `made` the newest edit of it
  id = "";
  made = "";
  #tool = TOOLS.shift;
  #pressed = false;
  #shows;
  #send = newest(() => this.#sent(), (busy) => this.element.toggleAttribute("data-sending", busy));

  // `shows(open)` when it is opened and closed.
  constructor(shows) {
    this.canvas = h("canvas", { tabindex: 0, role: "img" });
    this.mark = h("div", { class: "mark", hidden: true });
    this.help = quiet(this.#tool.help);
    this.fields = { angle: this.#field("Degrees", 180), x: this.#field("Right", SIDE), y: this.#field("Down", SIDE) };
    this.size = h("input", { type: "range", min: 2, max: 60, value: 20 });
    this.turn = button("Edit", () => this.#open(true), { title: "shift, turn, cover or crop it, and see the answer move" });
    this.element = h("div", { class: "editor", hidden: true }, h("div", { class: "stage" }, this.canvas, this.mark), this.#controls());
    this.#shows = shows;
    this.#listen();
  }

  get width() { return this.canvas.width; }
  get height() { return this.canvas.height; }
  get brush() { return Number(this.size.value); } // in percent of the shorter side

  // Another image is shown, which may be our own.
  follow() {
    if (state.image === this.made) return;
    this.original = null;
    this.made = "";
    this.#load();
  }

  change(values) {
    this.edit = { ...this.edit, ...values };
    this.#show();
    this.#send();
  }

  // The brush, or the part that will be kept: [left, top, width, height] on the canvas.
  outline(box) {
    this.mark.hidden = !box;
    if (!box) return;
    const [left, top, width, height] = box;
    const parts = { left: left / this.width, top: top / this.height, width: width / this.width, height: height / this.height };
    for (const [name, part] of Object.entries(parts)) this.mark.style[name] = `${100 * part}%`;
  }

  #controls() {
    const tools = Object.entries(TOOLS).map(([name, tool]) => {
      const input = h("input", { type: "radio", name: "tool", checked: tool === this.#tool, change: () => this.#take(tool) });
      return h("label", {}, input, ` ${name}`);
    });
    const labels = Object.values(this.fields).map(({ parentElement }) => parentElement);
    return h("div", { class: "controls" },
      h("fieldset", { class: "tools" }, h("legend", {}, "Dragging and arrow keys"), tools, h("label", {}, "brush ", this.size)), this.help,
      h("p", { class: "control" }, labels),
      h("p", { class: "control" }, button("Done", () => this.#open(false)), button("Undo all", () => this.#reset()),
        button("Compare with the original", () => go({ other: this.id }))));
  }

  #field(words, most) {
    const typed = () => this.original && input.checkValidity() && this.change(this.#numbers());
    const input = h("input", { type: "number", min: -most, max: most, value: 0, input: typed });
    h("label", {}, `${words} `, input);
    return input;
  }

  #numbers() {
    return Object.fromEntries(Object.entries(this.fields).map(([name, field]) => [name, Number(field.value)]));
  }

  #take(tool) {
    this.#tool = tool;
    this.help.textContent = tool.help;
    this.outline(null);
  }

  #open(open) {
    this.element.hidden = !open;
    this.#shows(open);
    if (open) this.#load();
    (open ? this.canvas : this.turn).focus();
  }

  async #load() {
    if (this.element.hidden || this.original || !state.image) return;
    const id = state.image, image = new Image();
    image.src = address("image/picture/0", { image: id, side: SIDE });
    try {
      await image.decode();
    } catch {
      return complain("The image could not be read for editing.");
    }
    if (id !== state.image) return;
    Object.assign(this, { id, original: image, edit: UNCHANGED });
    this.#show();
  }

  #reset() {
    if (!this.original) return;
    this.edit = UNCHANGED;
    this.#show();
    this.made = this.id;
    go({ image: this.id });
  }

  #show() {
    const { angle, x, y, strokes } = this.edit;
    draw(this.canvas, this.original, this.edit);
    this.canvas.classList.toggle("pixels", this.original.width < 256);
    this.canvas.setAttribute("aria-label", `${collection.nameOf(this.id)}: turned by ${angle} degrees, shifted by ${x} and ${y} pixels, ` +
      `${strokes.length} strokes of the brush, ${this.width} x ${this.height} pixels kept`);
    for (const [name, field] of Object.entries(this.fields)) if (field !== document.activeElement) field.value = this.edit[name];
  }

  async #sent() {
    const { edit, id } = this;
    const stale = () => this.id !== id || (this.edit === UNCHANGED && edit !== UNCHANGED);
    try {
      const blob = await new Promise((resolve) => this.canvas.toBlob(resolve, "image/png"));
      const made = await collection.send(blob, `${collection.nameOf(id)}, edited`);
      if (stale() || !this.original) return;
      const further = this.made !== "" && this.made !== id; // one step in the history for all edits of an image
      this.made = made;
      go({ image: made }, { replace: further });
      await settled();
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      complain(error.message);
    }
  }

  #listen() {
    const { canvas } = this;
    canvas.addEventListener("pointerdown", (event) => this.#press(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    canvas.addEventListener("pointerup", (event) => this.#release(event));
    canvas.addEventListener("pointercancel", () => { this.#pressed = false; });
    canvas.addEventListener("pointerleave", () => this.outline(null));
    canvas.addEventListener("blur", () => this.outline(null));
    canvas.addEventListener("keydown", (event) => this.#key(event));
  }

  #press(event) {
    if (!this.original || event.button !== 0) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.#pressed = true;
    this.#tool.press(this, this.#at(event));
  }

  #move(event) {
    if (!this.original) return;
    if (this.#pressed) this.#tool.drag(this, this.#at(event));
    else this.#tool.hover?.(this, this.#at(event));
  }

  #release(event) {
    if (this.#pressed) this.#tool.release?.(this, this.#at(event));
    this.#pressed = false;
  }

  #key(event) {
    if (!this.original || event.ctrlKey || event.metaKey || event.altKey) return;
    const arrow = ARROWS[event.key];
    if (arrow) this.#tool.arrow(this, arrow);
    else if (event.key === " " && this.#tool.space) this.#tool.space(this);
    else return;
    event.preventDefault();
  }

  #at({ clientX, clientY }) {
    const box = this.canvas.getBoundingClientRect();
    return [((clientX - box.left) * this.width) / box.width, ((clientY - box.top) * this.height) / box.height];
  }
}
