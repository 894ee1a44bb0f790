// Requests to the server, and what a person reads where it does not answer.
import { complain } from "./status.js";

// For the status line what to do; where an answer is missing, the first sentence.
const STOPPED = ["The server does not answer.", "Was it stopped? Start caffe-viz serve again and open the address that it prints."];
const SHUT = ["The server does not know this browser any more.", "Open the address that caffe-viz serve printed last."];

// What a person reads where an answer is missing.
export class Failure extends Error {}

// "ascent?objective=conv3%3A16"
export function asking(question, params = {}) {
  const given = Object.entries(params).filter(([, value]) => value !== "" && value !== undefined && value !== null);
  return `${question}${given.length ? `?${new URLSearchParams(given)}` : ""}`;
}

export const address = (path, params) => `/api/${asking(path, params)}`;

// Raises Failure; AbortError where `options.signal` was aborted.
export async function reply(url, options) {
  const response = await fetch(url, { credentials: "same-origin", ...options }).catch(lost);
  if (response.ok) return response;
  const said = await response.json().catch(() => ({}));
  throw response.status === 403 ? hopeless(SHUT) : new Failure(said.error ?? `The server answered ${response.status}.`);
}

export async function json(url, options) {
  return (await reply(url, options)).json();
}

// For `catch`: of a connection that has ended.
export function lost(error) {
  throw error.name === "AbortError" ? error : stopped();
}

export const stopped = () => hopeless(STOPPED);

function hopeless([what, todo]) {
  complain(`${what} ${todo}`);
  return new Failure(what);
}
