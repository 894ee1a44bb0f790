// The state of the view, which is the query of the page's address: all of it text, "" where nothing is chosen.
const DEFAULTS = {
  net: "0", layer: "", unit: "", order: "number",
  bright: "1", // how many times brighter the maps are shown
  spot: "", // what of a unit pixels drive: "map", its whole map; "": its strongest place
  band: "", // "hidden": without the image and the answer
  image: "", other: "", // `other`: a second image beside it
  beside: "", // what is compared: "images", "networks"; "": what there is
  target: "", method: "grad-cam", reads: "", // of the attribution; `reads`: the layer whose maps a CAM reads
  objective: "", climb: "natural", steps: "64", pictures: "1", seed: "0", // of an ascent
  climbing: "", // "1": what maximises a unit is shown for each that is opened
  moment: "", // of the training
};

export const state = { ...DEFAULTS };
const subscribers = [], completions = [];

// `callback(state, changed)` whenever one of `names` has changed, and once at the start.
export function subscribe(names, callback) {
  subscribers.push({ names, callback });
}

// `missing(state)` -> what to change where an address leaves it open, such as the layer where one begins.
export function complete(missing) {
  completions.push(missing);
}

// Changes some of the state: {layer: "conv3", unit: 16}. `replace`: without a step in the history.
export function go(changes, { replace = false } = {}) {
  const wanted = next(changes);
  const changed = differing(wanted);
  if (!changed.size) return;
  Object.assign(state, wanted);
  history[replace ? "replaceState" : "pushState"](null, "", href({}));
  tell(changed);
}

// The address of the view after `changes`.
function href(changes) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(next(changes))) if (value !== DEFAULTS[name]) query.set(name, value);
  return `?${query}`;
}

// All modules are there: from now on the view follows the address.
export function start() {
  Object.assign(state, addressed());
  history.replaceState(null, "", href({}));
  tell(new Set(Object.keys(DEFAULTS)));
  addEventListener("popstate", () => {
    const wanted = addressed();
    const changed = differing(wanted);
    Object.assign(state, wanted);
    if (changed.size) tell(changed);
  });
  document.addEventListener("click", follow);
}

const addressed = () => completed({ ...DEFAULTS, ...read(location.search) });

const completed = (wanted) => completions.reduce((found, missing) => ({ ...found, ...missing(found) }), wanted);

// A link to "?name=value" changes what it names and keeps the rest.
function follow(event) {
  const link = event.target.closest('a[href^="?"]');
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  go(read(link.getAttribute("href")));
}

const read = (query) => Object.fromEntries([...new URLSearchParams(query)].filter(([name]) => Object.hasOwn(DEFAULTS, name)));

// A unit is one of its layer.
function next(changes) {
  const text = Object.fromEntries(Object.entries(changes).map(([name, value]) => [name, String(value ?? "")]));
  const moved = "layer" in text && text.layer !== state.layer;
  return completed({ ...state, ...(moved ? { unit: "" } : {}), ...text });
}

const differing = (wanted) => new Set(Object.keys(DEFAULTS).filter((name) => wanted[name] !== state[name]));

function tell(changed) {
  for (const { names, callback } of subscribers) if (names.some((name) => changed.has(name))) callback(state, changed);
}
