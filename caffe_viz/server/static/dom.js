// Elements from values. Names are other people's: strings only ever become text.

// h("button", { type: "button", class: "x", click: listener, "aria-label": ".." }, "text", element, ..)
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (typeof value === "function") element.addEventListener(name, value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== undefined && child !== null && child !== ""));
  return element;
}

export const button = (text, click, properties = {}) => h("button", { type: "button", click, ...properties }, text);

// An error in the place of what could not be made.
export const failed = (error) => h("p", { class: "failed" }, error.message);

export const quiet = (text) => h("p", { class: "quiet" }, text);

// [[name, value], ..] -> a list of facts.
export const facts = (rows) =>
  h("dl", { class: "facts" }, rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));

// Four digits, or a dash for what is no number.
export function number(value) {
  if (value === null || value === undefined) return "–";
  if (Number.isInteger(value)) return value.toLocaleString("en");
  const short = Number(value.toPrecision(4));
  const small = Math.abs(short) < 1e-4 || Math.abs(short) >= 1e6;
  return small ? short.toExponential() : String(short);
}

// Values of one column, all with the same decimals.
export const short = (value) => (value === null ? "–" : Math.abs(value) < 1000 ? value.toFixed(3) : number(value));

export const percent = (share) => `${number(Math.round(share * 1000) / 10)} %`;

// Where all stands in one column, the section that has changed is brought before the reader's eyes.
export function reveal(section) {
  if (!matchMedia("(max-width: 63.99rem)").matches) return;
  section.scrollIntoView();
  section.focus({ preventScroll: true });
}
