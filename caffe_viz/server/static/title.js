// The title of the page says what is shown, for tabs, bookmarks and the history.
import { state, subscribe } from "./state.js";

export function mount(root) {
  const name = root.textContent;
  subscribe(["layer", "unit"], () => {
    const shown = [state.layer, state.unit].filter(Boolean).join(":");
    document.title = [shown, name, "caffe_viz"].filter(Boolean).join(" – ");
  });
}
