// The image: dropped, pasted, chosen, or one of the strip; and a second one beside it.
import * as collection from "./collection.js";
import { ask, Failure } from "./api.js";
import * as camera from "./camera.js";
import { failed, h, number, quiet } from "./dom.js";
import * as edit from "./edit.js";
import { figure, within } from "./pictures.js";
import * as second from "./second.js";
import { complete, go, state, subscribe } from "./state.js";
import { complain, say } from "./status.js";

const SIDE = 512; // px of what is shown
const [WIDE, HIGH] = [192, 160]; // px on the screen

export function mount(root, network) {
  collection.open(network.images);
  const current = h("div", { class: "current" }), strip = h("div", { class: "strip" });
  const choices = h("div", { class: "choices" }, strip, h("div", { class: "control" }, chooser(network.limits)));
  root.append(h("div", { class: "image" }, current, choices));
  camera.mount(choices);
  edit.mount(root, choices.querySelector(".control"));
  choices.append(quiet("Or drop one on this page, or paste one."));
  second.mount(choices);
  stripOf(strip);
  dropping(network.limits);
  pasting(network.limits);
  complete(({ image }) => (image ? {} : { image: collection.all()[0]?.id ?? "" }));
  subscribe(["image"], () => show(current));
}

async function show(place) {
  if (!state.image) return place.replaceChildren(quiet("No image yet."));
  try {
    const answer = await ask("image", { image: state.image, side: SIDE }, { says: "reading the image" });
    if (!answer) return;
    const { facts: { name, width, height }, pictures: [picture] } = answer;
    collection.call(state.image, name);
    place.replaceChildren(figure({ ...picture, shown: within(picture, WIDE, HIGH), caption: `${name}, ${width} x ${height}` }));
  } catch (error) {
    place.replaceChildren(failed(error));
  }
}

// Files to the server: the first is shown, all are in the strip.
async function take(files, limits) {
  const shown = [];
  for (const file of files) {
    try {
      check(file, limits);
      say(`sending ${file.name}`);
      shown.push(await collection.send(file, file.name, { keep: true }));
    } catch (error) {
      complain(error.message.startsWith(file.name) ? error.message : `${file.name}: ${error.message}`);
    }
  }
  if (shown.length) go({ image: shown[0] });
  if (shown.length === files.length) say(shown.length === 1 ? `${files[0].name} is the image now` : `${shown.length} images are in the strip`);
}

function check({ size }, { bytes }) {
  const million = 1_000_000;
  if (size > bytes) throw new Failure(`the file has ${number(size / million)} MB, more than the ${number(bytes / million)} MB that are taken here.`);
}

function chooser(limits) {
  const input = h("input", { type: "file", accept: "image/*", multiple: true, id: "file",
    change: async () => { await take([...input.files], limits); input.value = ""; } });
  return h("label", { class: "file", for: "file" }, "Choose an image ", input);
}

function dropping(limits) {
  const page = document.body;
  const over = (shown) => page.classList.toggle("dropping", shown);
  addEventListener("dragover", (event) => { event.preventDefault(); over(true); });
  addEventListener("dragleave", (event) => event.relatedTarget === null && over(false));
  addEventListener("drop", (event) => {
    event.preventDefault();
    over(false);
    const files = [...event.dataTransfer.files];
    if (files.length) take(files, limits);
    else complain("What you dropped is not a file. Save the image on your computer first, then drop the file here.");
  });
}

function pasting(limits) {
  addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length) return; // text, for a field
    event.preventDefault();
    take(files, limits);
  });
}

// Radio buttons, so that arrow keys go through the images; the thumbnails come as they are scrolled to.
function stripOf(place) {
  const show = () => {
    const images = collection.all();
    const rest = images.slice(place.querySelectorAll("input").length);
    if (images.length && !place.firstElementChild) place.append(h("fieldset", {}, h("legend", { class: "hidden" }, "Images")));
    place.firstElementChild?.append(...rest.map(thumbnail));
    mark();
  };
  const mark = () => {
    for (const input of place.querySelectorAll("input")) input.checked = input.value === state.image;
  };
  collection.onMore(show);
  show();
  subscribe(["image"], mark);
}

function thumbnail({ id, name }) {
  const input = h("input", { type: "radio", name: "image", value: id, "aria-label": name, change: () => go({ image: id }) });
  return h("label", { title: name }, input, h("img", { src: collection.thumbnail(id), alt: "", loading: "lazy", width: 64, height: 64 }));
}
