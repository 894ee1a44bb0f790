// What takes long, in its own section: a bar, how long it still takes, a button that stops it.
import { follow } from "./api.js";
import { button, failed, h } from "./dom.js";
import { duration } from "./status.js";

// `stopped()` when the reader has stopped it; the same question asked again goes on. `broke()` after an error.
export class Running {
  #now = null;
  #bar = h("progress", { "aria-label": "done" });
  #words = h("span", { class: "rest" });
  #moving = h("span", { class: "moving", hidden: true });
  #why = h("div", { role: "alert" });

  #stopped;
  #broke;

  constructor(stopped, broke = () => {}) {
    this.#stopped = stopped;
    this.#broke = broke;
    this.#moving.append(this.#bar, this.#words, button("Stop", () => this.#now?.task.cancel()));
    this.element = h("div", { class: "running" }, this.#moving, this.#why);
  }

  // One at a time; handlers: progress(step), optional, and answer(answer). Errors are shown here.
  start(question, params, { progress, answer }, options) {
    this.clear();
    this.#moving.hidden = false;
    this.#bar.removeAttribute("value");
    this.#words.textContent = "waiting for its turn";
    const mine = this.#now = { over: false };
    const ours = (take) => (value) => { if (this.#now === mine) take(value); };
    const last = (take) => ours((value) => { mine.over = true; take(value); });
    mine.task = follow(question, params, {
      progress: ours((step) => { this.#show(step); progress?.(step); }),
      answer: last(answer),
      failed: last((error) => this.#fail(error)),
      ended: ours(() => this.#end(mine)),
    }, options);
  }

  #fail(error) {
    this.#why.replaceChildren(failed(error));
    this.#broke();
  }

  // Neither an answer nor an error came: the reader has stopped it, here or in the line below.
  #end({ over }) {
    this.#now = null;
    this.#moving.hidden = true;
    if (!over) this.#stopped();
  }

  clear() {
    const now = this.#now;
    this.#now = null;
    now?.task.cancel();
    this.#moving.hidden = true;
    this.#why.replaceChildren();
  }

  #show({ done, total, remaining }) {
    if (total > 0) Object.assign(this.#bar, { max: total, value: done });
    this.#words.textContent = remaining === null || remaining === undefined ? "" : `${duration(remaining)} left`;
  }
}
