// Questions to the server.
import { listen } from "./events.js";
import { address, asking, Failure, json } from "./requests.js";
import { working } from "./status.js";

export { address, Failure };

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
  new Promise((resolve) => {
    const leave = listen(asking(question, params), (event, data) => {
      if (event === "answer" || event === "failed") resolve();
      given[event]?.(data);
    });
    signal.addEventListener("abort", () => {
      leave();
      resolve();
    });
  }).then(() => {
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
