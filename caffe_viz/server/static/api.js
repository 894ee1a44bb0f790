// Questions to the server.
import { complain, working } from "./status.js";

// For the status line what to do; where an answer is missing, the first sentence.
const STOPPED = ["The server does not answer.", "Was it stopped? Start caffe-viz serve again and open the address that it prints."];
const SHUT = ["The server does not know this browser any more.", "Open the address that caffe-viz serve printed last."];

// What a person reads where an answer is missing.
export class Failure extends Error {}

export const address = (path, params = {}) => {
  const given = Object.entries(params).filter(([, value]) => value !== "" && value !== undefined && value !== null);
  return `/api/${path}${given.length ? `?${new URLSearchParams(given)}` : ""}`;
};

const slots = new Map();
const asked = new Set(); // what `ask` waits for

// {facts, pictures: [{src, width, height, alt, name}], data, key}; null where the same `slot` has asked again since.
// `says`: what the status line says meanwhile. Raises Failure.
export async function ask(question, params, { slot = question, says = "" } = {}) {
  const signal = newest(slot);
  const task = working(says, { late: true });
  const coming = json(address(question, params), { signal });
  asked.add(coming);
  try {
    return await coming;
  } catch (error) {
    if (signal.aborted) return null;
    throw error;
  } finally {
    asked.delete(coming);
    task.end();
  }
}

// When everything that was asked by `ask` is answered: the view has followed the state.
export async function idle() {
  while (asked.size) await Promise.allSettled(asked);
}

// A question that takes long. Handlers, all optional: progress({done, total, remaining, facts, pictures}),
// answer({facts, pictures, data, key}), failed(Failure), ended() after any of them and after cancel().
// -> {cancel()}; the same `slot` asked again cancels too.
export function follow(question, params, handlers, { slot = question, says = "" } = {}) {
  const signal = newest(slot);
  const cancel = () => slots.get(slot)?.signal === signal && newest(slot);
  const task = working(says, { cancel });
  const given = {
    queued: ({ place }) => task.queued(place),
    progress: (step) => {
      task.progress(step);
      handlers.progress?.(step);
    },
    answer: (answer) => handlers.answer?.(answer),
    failed: ({ error }) => handlers.failed?.(new Failure(error)),
  };
  events(address(`${question}/events`, params), signal, (name, data) => !signal.aborted && given[name]?.(data))
    .catch((error) => !signal.aborted && handlers.failed?.(error))
    .finally(() => {
      task.end();
      handlers.ended?.();
    });
  return { cancel };
}

// The id of an image whose file's bytes are `blob`: {id, name, width, height}. Raises Failure.
export const upload = (blob, name) => json(address("images", { name }), { method: "POST", body: blob });

// What the server is about. Raises Failure.
export const network = () => json("/api/network");

// Aborts what `slot` has asked before.
function newest(slot) {
  slots.get(slot)?.abort();
  slots.set(slot, new AbortController());
  return slots.get(slot).signal;
}

async function json(url, options) {
  return (await reply(url, options)).json();
}

async function reply(url, options) {
  const response = await fetch(url, { credentials: "same-origin", ...options }).catch(lost);
  if (response.ok) return response;
  const said = await response.json().catch(() => ({}));
  throw response.status === 403 ? hopeless(SHUT) : new Failure(said.error ?? `The server answered ${response.status}.`);
}

function lost(error) {
  throw error.name === "AbortError" ? error : hopeless(STOPPED);
}

function hopeless([what, todo]) {
  complain(`${what} ${todo}`);
  return new Failure(what);
}

// text/event-stream by fetch: EventSource hides why a server refuses, and asks again by itself.
async function events(url, signal, take) {
  const response = await reply(url, { signal });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "", ended = false;
  for (;;) {
    const { value, done } = await reader.read().catch(lost);
    if (done) break;
    const blocks = (rest + value).replaceAll("\r", "").split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const { event, data } = fields(block);
      if (data) take(event, JSON.parse(data));
      ended ||= event === "answer" || event === "failed";
    }
  }
  if (!ended) throw hopeless(STOPPED);
}

function fields(block) {
  const found = { event: "message", data: "" };
  for (const line of block.split("\n")) {
    const [, name, value] = /^(event|data): ?(.*)$/.exec(line) ?? [];
    if (name === "data") found.data += value;
    else if (name) found[name] = value;
  }
  return found;
}
