// One line that says what the page is doing.
import { button, h } from "./dom.js";

const PATIENCE = 300; // ms before a short question is worth a word

const tasks = [];
const said = h("span"), rest = h("span", { class: "rest", "aria-hidden": "true" });
const bar = h("progress", { "aria-label": "done", hidden: true });
const stop = button("Cancel", () => tasks.at(-1)?.cancel?.(), { hidden: true });
let last = { text: "", bad: false }, root = null;

export function mount(element) {
  root = element;
  root.append(h("p", { role: "status" }, said, rest), bar, stop);
  show();
}

// A word to the reader, until the next.
export function say(text) {
  last = { text, bad: false };
  show();
}

export function complain(text) {
  last = { text, bad: true };
  show();
}

// Something begins: `says` in words ("computing the maps of conv3"). -> queued(place), progress(step), end().
// `late`: said only if it takes a while.
export function working(says, { cancel, late = false } = {}) {
  const task = { says, cancel, rest: "", step: null, shown: !late && says !== "" };
  tasks.push(task);
  const timer = late && says && setTimeout(() => change(task, { shown: true }), PATIENCE);
  show();
  return {
    queued: (place) => change(task, { rest: place ? `waiting, ${place} before it` : "", step: null }),
    progress: (step) => change(task, { rest: left(step), step }),
    end: () => {
      clearTimeout(timer);
      tasks.splice(tasks.indexOf(task), 1);
      show();
    },
  };
}

function change(task, values) {
  Object.assign(task, values);
  show();
}

// "12 of 64, 3 s left"
function left({ done, total, remaining }) {
  const part = total > 0 ? `${Math.floor((100 * done) / total)} %` : "";
  return [part, remaining === null || remaining === undefined ? "" : `${duration(remaining)} left`].filter(Boolean).join(", ");
}

export function duration(seconds) {
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s`;
  return seconds < 3600 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

function show() {
  if (!root) return;
  const task = tasks.findLast((one) => one.shown);
  const text = task ? task.says : last.text;
  if (said.textContent !== text) said.textContent = text; // a live region speaks at every change
  rest.textContent = task ? task.rest : "";
  bar.hidden = !(task?.step?.total > 0);
  if (!bar.hidden) Object.assign(bar, { max: task.step.total, value: task.step.done });
  stop.hidden = !task?.cancel;
  root.classList.toggle("idle", text === "");
  root.classList.toggle("bad", !task && last.bad);
}
