// What takes long, in its own section: a bar, how long it still takes, a button that stops it.
import { follow } from "./api.js";
import { button, failed, h } from "./dom.js";
import { duration } from "./status.js";

// `stopped()` when the reader has stopped it; the same question asked again goes on.
export class Running {
  #now = null;
  #bar = h("progress", { "aria-label": "done" });
  #words = h("span", { class: "rest" });
  #moving = h("span", { class: "moving", hidden: true });
  #why = h("div", { role: "alert" });

  constructor(stopped) {
    this.#moving.append(this.#bar, this.#words, button("Stop", () => { this.clear(); stopped(); }));
    this.element = h("div", { class: "running" }, this.#moving, this.#why);
  }

  // One at a time; handlers: progress(step), optional, and answer(answer). Errors are shown here.
  start(question, params, { progress, answer }, options) {
    this.clear();
    this.#moving.hidden = false;
    this.#bar.removeAttribute("value");
    this.#words.textContent = "waiting for its turn";
    const mine = this.#now = {};
    const ours = (take) => (value) => { if (this.#now === mine) take(value); };
    mine.task = follow(question, params, {
      progress: ours((step) => { this.#show(step); progress?.(step); }),
      answer: ours(answer),
      failed: ours((error) => this.#why.replaceChildren(failed(error))),
      ended: ours(() => { this.#now = null; this.#moving.hidden = true; }),
    }, options);
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
