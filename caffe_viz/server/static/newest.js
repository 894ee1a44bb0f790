// -> a function that calls `work()`, never twice at once: asked meanwhile, it runs once more, with the newest.
export function newest(work) {
  let running = false, again = false;
  return async () => {
    again = true;
    if (running) return;
    running = true;
    try {
      while (again) {
        again = false;
        await work();
      }
    } finally {
      running = false;
    }
  };
}
