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

const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
