// What takes long, in its section: a bar, how long it still takes, a button that stops it and one that goes on.
import { follow } from "./api.js";
import { button, failed, h } from "./dom.js";

const LONG = 60; // s

// start(question, params, handlers, says) and stop() of one thing at a time; `element` shows how far it is.
// `again()` when the reader wants to go on; `stopped()`, optional, when the reader has stopped it.
export class Running {
  #now = null;
  #bar = h("progress", { "aria-label": "done" });
  #words = h("span", { class: "rest" });

  constructor(again, stopped = () => {}) {
    this.go = button("Go on", again, { hidden: true });
    this.end = button("Stop", () => { this.stop(); stopped(); });
    this.moving = h("span", { class: "moving", hidden: true }, this.#bar, this.#words, this.end);
    this.why = h("div", { role: "alert" });
    this.element = h("div", { class: "running" }, this.moving, this.go, this.why);
  }

  get running() { return this.#now !== null; }

  start(question, params, { progress, answer }, options) {
    this.clear();
    this.moving.hidden = false;
    this.#bar.removeAttribute("value");
    this.#words.textContent = "waiting for its turn";
    const mine = this.#now = {};
    const ours = (take) => (value) => { if (this.#now === mine) take(value); };
    mine.task = follow(question, params, {
      progress: ours((step) => { this.#show(step); progress?.(step); }),
      answer: ours(answer),
      failed: ours((error) => this.why.replaceChildren(failed(error))),
      ended: ours(() => { this.#now = null; this.moving.hidden = true; }),
    }, options);
  }

  // By the reader: it can go on.
  stop() {
    if (!this.#now) return;
    this.clear();
    this.go.hidden = false;
    this.go.focus();
  }

  // Another thing is asked for, or nothing.
  clear() {
    const now = this.#now;
    this.#now = null;
    now?.task.cancel();
    this.moving.hidden = this.go.hidden = true;
    this.why.replaceChildren();
  }

  #show({ done, total, remaining }) {
    if (total > 0) Object.assign(this.#bar, { max: total, value: done });
    this.#words.textContent = remaining === null || remaining === undefined ? "" : `${duration(remaining)} left`;
  }
}

const duration = (seconds) => (seconds < LONG ? `${Math.max(1, Math.round(seconds))} s` : `${Math.round(seconds / 60)} min`);
