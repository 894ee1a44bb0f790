// -> a function that calls `work()`, never twice at once: asked meanwhile, it runs once more, with the newest.
// `tell(busy)` when it begins, and when nothing more is to do.
export function newest(work, tell = () => {}) {
  let running = false, again = false;
  return async () => {
    again = true;
    if (running) return;
    running = true;
    tell(true);
    try {
      while (again) {
        again = false;
        await work();
      }
    } finally {
      running = false;
      tell(false);
    }
  };
}
