// A button that hides the image and its answer, for more room below.
import { button } from "./dom.js";
import { go, state, subscribe } from "./state.js";

export function mount(root) {
  const band = document.querySelector(".band");
  const fold = button("", () => go({ band: state.band ? "" : "hidden" }, { replace: true }), { "aria-controls": "band" });
  root.append(fold);
  subscribe(["band"], () => {
    fold.textContent = state.band ? "▼ Image and answer" : "▲ Image and answer";
    fold.setAttribute("aria-expanded", String(!state.band));
    band.hidden = state.band !== "";
    document.documentElement.classList.toggle("roomy", band.hidden);
  });
  // A link to what is hidden shows it.
  document.addEventListener("click", (event) => {
    const target = event.target.closest('a[href^="#"]')?.hash;
    if (target && band.querySelector(target)) go({ band: "" }, { replace: true });
  });
}
