// The maps of an answer as a grid of buttons: one of them is reached by Tab, the others by arrow keys.
import { Failure } from "./api.js";
import { h, number } from "./dom.js";
import { fitted } from "./fitting.js";

const WORDS = 40; // a vector of up to so many values has them written in its cells
const EDGE = 0.5; // px of a map that are left out, lest a part of its neighbour is seen
const AROUND = 200, READOUT = 30; // px of the window that the maps do not have, and below them

// `choose(unit)` when a map is clicked; `measure` is what its strength is. What is shown is the answer of `maps` or `difference`.
export class Tiles {
  constructor(place, choose, measure = "mean") {
    this.place = place;
    this.measure = measure;
    this.group = h("div", { class: "tiles", role: "group" });
    this.readout = h("p", { class: "readout", "aria-hidden": "true" });
    this.items = []; // by the number of their unit
    this.group.addEventListener("click", (event) => this.#at(event, (unit) => choose(unit)));
    this.group.addEventListener("keydown", (event) => this.#move(event));
    this.group.addEventListener("focusin", (event) => this.#at(event, (unit) => this.#rove(unit)));
    this.group.addEventListener("pointerover", (event) => this.#at(event, (unit) => this.#read(unit)));
    new ResizeObserver(() => this.#fit()).observe(place);
  }

  // Once the picture of all maps is there, so that nothing flickers. -> false if another answer came meanwhile.
  async show(answer, label) {
    if (!(await this.load(answer))) return false;
    this.draw(answer, label);
    return true;
  }

  async load({ pictures: [sheet] }) {
    const turn = (this.turn = {});
    await loaded(sheet.src);
    return this.turn === turn;
  }

  draw({ facts, pictures: [sheet] }, label) {
    const cells = facts.tile[0] * facts.tile[1] === 1;
    const kept = this.facts && this.cells === cells && this.items.length === facts.shown;
    Object.assign(this, { facts, cells, sheet, worded: cells && facts.count <= WORDS });
    this.group.setAttribute("aria-label", label);
    this.group.classList.toggle("vector", cells);
    this.group.classList.toggle("words", this.worded);
    if (!kept) this.#build();
    for (const [unit, item] of this.items.entries()) cells ? this.#shade(unit, item) : item.setAttribute("aria-label", `map ${this.#name(unit)}`);
    if (!this.group.isConnected) this.place.replaceChildren(this.group, this.readout);
    this.#fit();
  }

  // `order`: the numbers of the units as they come, or null for 0, 1, 2, ...
  arrange(order) {
    const wanted = order ? order.map((unit) => this.items[unit]).filter(Boolean) : this.items;
    if (wanted.some((item, place) => this.group.children[place] !== item)) this.group.replaceChildren(...wanted);
  }

  // The unit whose panel is open.
  mark(unit) {
    this.group.querySelector("[aria-current]")?.removeAttribute("aria-current");
    const item = unit === "" ? undefined : this.items[unit];
    item?.setAttribute("aria-current", "true");
    if (this.items.length && !this.group.contains(document.activeElement)) this.#rove(item ? unit : this.#first());
  }

  clear(...why) {
    Object.assign(this, { facts: null, items: [], turn: null });
    this.group.replaceChildren();
    this.place.replaceChildren(...why);
  }

  #build() {
    this.items = Array.from({ length: this.facts.shown }, (_, unit) => h("button", { type: "button", tabindex: -1, "data-unit": unit },
      this.cells ? [] : [h("span", { class: "map" }), h("span", { class: "number" }, String(unit))]));
    this.group.replaceChildren(...this.items);
  }

  // A few values are bars with their words, many are grey cells.
  #shade(unit, item) {
    const { low, high, strength } = this.facts, value = strength[unit];
    const from = this.worded ? Math.min(low, 0) : low;
    const part = value === null || high <= from ? 0 : Math.round((100 * (value - from)) / (high - from));
    if (this.worded) item.style.setProperty("--part", `${part}%`);
    else item.style.backgroundColor = `color-mix(in srgb, #fff ${part}%, #000)`;
    if (this.worded) item.textContent = this.#said(unit);
    item.setAttribute("aria-label", this.#said(unit));
  }

  #name = (unit) => `${unit} ${this.facts.labels[unit] ?? ""}`.trim();
  #said = (unit) => `${this.#name(unit)}: ${number(this.facts.strength[unit])}`;
  #first = () => this.group.firstElementChild?.dataset.unit;

  #read(unit) {
    this.readout.textContent = this.cells ? this.#said(unit) : `map ${this.#name(unit)}, ${this.measure} ${number(this.facts.strength[unit])}`;
  }

  #rove(unit) {
    this.group.querySelector('[tabindex="0"]')?.setAttribute("tabindex", "-1");
    this.items[unit]?.setAttribute("tabindex", "0");
    if (this.items[unit]) this.#read(unit);
  }

  #at(event, action) {
    const item = event.target.closest("[data-unit]");
    if (item) action(Number(item.dataset.unit));
  }

  #move(event) {
    const items = [...this.group.children], at = items.indexOf(document.activeElement);
    const across = items.filter((item) => item.offsetTop === items[0].offsetTop).length;
    const to = {
      ArrowRight: at + 1, ArrowLeft: at - 1, ArrowDown: at + across, ArrowUp: at - across, Home: 0, End: items.length - 1,
    }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    items[to]?.focus();
  }

  // All maps are one picture, each button's background: hundreds of pictures or canvases would take too long.
  #fit() {
    if (!this.facts || this.cells) return;
    const { tile: [width, height], gap, columns } = this.facts, { src, width: whole, height: tall } = this.sheet;
    const [wide, high, numbered] = fitted(this.items.length, [width, height], this.place.clientWidth, this.#room());
    const [across, down] = [wide / width, high / height];
    this.group.classList.toggle("numbered", numbered);
    this.group.classList.toggle("pixels", wide >= width);
    for (const [name, value] of Object.entries({
      "--sheet": `url(${JSON.stringify(src)})`, "--size": `${whole * across}px ${tall * down}px`,
      "--wide": `${wide - 2 * EDGE}px`, "--high": `${high - 2 * EDGE}px`,
    })) this.group.style.setProperty(name, value);
    for (const [unit, item] of this.items.entries()) {
      const [x, y] = [(unit % columns) * (width + gap), Math.floor(unit / columns) * (height + gap)];
      item.firstElementChild.style.backgroundPosition = `${-x * across - EDGE}px ${-y * down - EDGE}px`;
    }
  }

  // The height that there is without scrolling: that of the column, or of the window.
  #room() {
    const column = this.place.closest("section");
    if (getComputedStyle(column).overflowY !== "auto") return innerHeight - AROUND;
    const above = this.place.getBoundingClientRect().top - column.getBoundingClientRect().top + column.scrollTop;
    return column.clientHeight - above - READOUT;
  }
}

async function loaded(src) {
  const image = new Image();
  image.src = src;
  await image.decode().catch(() => { throw new Failure("The picture of the maps did not arrive: choose the layer again."); });
  return image;
}
