// The webcam: the next frame goes to the net when all of the last is on the screen; those between are left out.
import * as collection from "./collection.js";
import { button, failed, h } from "./dom.js";
import { settled } from "./settling.js";
import { go } from "./state.js";
import { say } from "./status.js";

const SIDE = 256; // px of the shorter side, more than most nets look at
const WINDOW = 3000; // ms over which frames are counted
const REASONS = {
  NotAllowedError: "The browser may not use the webcam. Allow it for this page, in the address bar, and try again.",
  NotFoundError: "There is no webcam.",
  NotReadableError: "The webcam is in use by another program.",
};

export function mount(root) {
  const video = h("video", { muted: true, playsinline: true }); // its frames are shown where the image is
  const rate = h("span", { class: "rate" });
  const turn = button("Start the webcam", () => (stream ? stop() : begin()));
  const why = h("div", { role: "alert" });
  let stream = null;
  root.querySelector(".control").append(turn, rate);
  root.append(why);

  async function begin() {
    why.replaceChildren();
    try {
      stream = await opened();
    } catch (error) {
      why.replaceChildren(failed({ message: REASONS[error.name] ?? error.message }));
      return;
    }
    stream.getVideoTracks()[0].addEventListener("ended", stop);
    video.srcObject = stream;
    show();
    await video.play().catch(() => {}); // stopped at once
    await run(stream);
  }

  async function run(mine) {
    const times = [];
    try {
      while (stream === mine) {
        const frame = await grab(video);
        const image = await collection.send(frame, "webcam");
        if (stream !== mine) return;
        go({ image }, { replace: true });
        await settled();
        if (stream === mine) rate.textContent = counted(times);
      }
    } catch (error) {
      stop();
      why.replaceChildren(failed(error));
    }
  }

  function stop() {
    for (const track of stream?.getTracks() ?? []) track.stop();
    stream = null;
    video.srcObject = null;
    show();
    say("the webcam is off; its last frame stays as the image");
  }

  function show() {
    turn.textContent = stream ? "Stop the webcam" : "Start the webcam";
    rate.textContent = "";
  }

  addEventListener("pagehide", () => stream && stop());
}

function opened() {
  if (!navigator.mediaDevices) throw new Error("The browser gives the webcam only to pages at 127.0.0.1, localhost or https.");
  return navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
}

// The present frame as a JPEG.
async function grab(video) {
  while (!video.videoWidth) await new Promise((resolve) => video.addEventListener("loadeddata", resolve, { once: true }));
  const scale = Math.min(1, SIDE / Math.min(video.videoWidth, video.videoHeight));
  const canvas = h("canvas", { width: Math.round(video.videoWidth * scale), height: Math.round(video.videoHeight * scale) });
  canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.9));
}

// Frames a second, in words, with one that has come now.
function counted(times) {
  const now = performance.now();
  times.push(now);
  while (now - times[0] > WINDOW) times.shift();
  if (times.length < 2) return "";
  return `${((1000 * (times.length - 1)) / (now - times[0])).toFixed(1)} frames a second`;
}
