// Pictures with a caption, large at a click, to be saved with their data.
import { h } from "./dom.js";
import { opener } from "./large.js";

const SMALL = 480; // px: below, pixels are shown as squares

// One of `pictures` of an answer as an element: figure({...picture, data: answer.data, caption: "its map"}).
// `shown`: its width on the screen in px, if not its own.
export function figure({ src, alt, width, height, name, data = "", caption = "", shown = 0 }) {
  return framed(picture({ src, alt, width, height }), { src, alt, width, height, name, data, caption, shown });
}

// The same with `above`, a map as heat, over `below`; the strength slider says how much of it.
export function layered({ below, above, data = "", caption = "", shown = 0 }) {
  const map = picture(above);
  map.classList.add("heat");
  return framed(h("span", { class: "stack" }, picture({ ...below, alt: "" }), map), { ...above, data, caption, shown });
}

// The `part` of a picture that begins at left, top and has width, height; what is saved is all of it.
export function cropped({ src, alt, width, height, name, data = "", caption = "" }, part) {
  const image = picture({ src, alt, width, height });
  const percent = (share) => `${100 * share}%`;
  Object.assign(image.style, {
    width: percent(width / part.width), left: percent(-part.left / part.width), top: percent(-part.top / part.height),
  });
  const shown = h("span", { class: "part" }, image);
  shown.style.setProperty("--ratio", part.width / part.height);
  return framed(shown, { src, alt, width: part.width, height: part.height, name, data, caption, shown: 0 });
}

// How wide a picture is on the screen that has to fit into so many px.
export const within = ({ width, height }, wide, high) => Math.round(Math.min(wide, (high * width) / height));

// A slider for how strongly all maps cover their images.
export function strength() {
  const slider = h("input", { type: "range", min: 0, max: 100, value: 55, input: () => cover(slider) });
  cover(slider);
  return h("label", { class: "strength" }, "Strength of the map ", slider);
}

const cover = (slider) => document.documentElement.style.setProperty("--strength", slider.value / 100);

function picture({ src, alt, width, height }) {
  const small = Math.max(width, height) < SMALL;
  return h("img", { src, alt, width, height, decoding: "async", class: small ? "pixels" : "" });
}

function framed(shown, { src, alt, width, height, name, data, caption, shown: wide }) {
  const open = opener(shown, { alt, width, height });
  if (wide) open.style.width = `${wide}px`;
  return h("figure", { class: "picture" }, open, h("figcaption", {}, caption, saves({ src, name, data })));
}

const saves = ({ src, name, data }) =>
  h("span", { class: "saves" },
    h("a", { href: src, download: `${name}.png`, "aria-label": `save the picture ${name}` }, "save"),
    data && h("a", { href: data, download: `${name}.npz`, "aria-label": `save the data of ${name}` }, "data"));
