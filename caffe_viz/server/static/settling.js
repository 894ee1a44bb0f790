// What changes as fast as the view can follow: a camera, an edit.
import { idle } from "./api.js";

const BUSY = 'main [aria-busy="true"]';

// When the answer, the maps and all else that follows the image are on the screen.
export async function settled() {
  do {
    await idle();
    await frame();
  } while (document.querySelector(BUSY));
}

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

const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
