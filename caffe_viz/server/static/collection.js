// The images that can be chosen: those the server began with, and what has come to this page.
import { address, ask, upload } from "./api.js";

const SIDE = 96; // px of a thumbnail

const names = new Map(); // id -> what it is called
const listed = []; // ids, as the strip shows them
const callbacks = [];

export function open(images) {
  for (const { id, name } of images) list(id, name);
}

// `callback()` when there is one more.
export const onMore = (callback) => callbacks.push(callback);

export const all = () => listed.map((id) => ({ id, name: nameOf(id) }));
export const nameOf = (id) => names.get(id) ?? "the image of this address";
export const call = (id, name) => names.set(id, name);

// What an image is called that an address has brought. Raises Failure.
export async function named(id) {
  if (names.has(id)) return nameOf(id);
  const answer = await ask("image", { image: id, side: SIDE }, { slot: `name of ${id}` });
  if (answer) call(id, answer.facts.name);
  return nameOf(id);
}

export const thumbnail = (id) => address("image/picture/0", { image: id, side: SIDE });

// A file, a frame or an edit to the server -> its id. `keep`: it is one to choose again. Raises Failure.
export async function send(blob, name, { keep = false } = {}) {
  const { id } = await upload(blob, name);
  keep ? list(id, name) : call(id, name);
  return id;
}

function list(id, name) {
  if (!listed.includes(id)) listed.push(id);
  call(id, name);
  for (const callback of callbacks) callback();
}
