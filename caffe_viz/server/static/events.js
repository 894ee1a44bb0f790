// The one stream of events of this tab: browsers allow six connections to a server, over all tabs.
import { newest } from "./newest.js";
import { lost, reply, stopped } from "./requests.js";

const ENDS = ["answer", "failed"];

const followed = new Set(); // {question, take, stream}: `stream` has been the last to tell of it
let current = null, stale = false;

// `take(event, data)` for each event of a question, such as "ascent?objective=conv3%3A16", until "answer" or
// "failed". -> a function that ends it: the server leaves the question where it is, and asked again goes on.
export function listen(question, take) {
  const one = { question, take, stream: null };
  followed.add(one);
  change();
  return () => followed.delete(one) && change();
}

function change() {
  stale = true;
  renew();
}

// Another stream, for what is followed now. The one before ends when the new one has told of all: nothing that
// both have is dropped in between.
const renew = newest(async () => {
  await null; // what changes at once is one change
  if (!stale) return;
  stale = false;
  const before = current, ones = [...followed];
  if (ones.length) {
    const next = stream(ones);
    if (!(await next.complete)) return;
    current = next;
  } else {
    current = null;
  }
  before?.close();
});

// -> {complete, close()}; `complete` is true once it has told of all, false where it has ended before.
function stream(ones) {
  const abort = new AbortController(), silent = new Set(ones), self = { close: () => abort.abort() };
  let settle;
  self.complete = new Promise((resolve) => { settle = resolve; });

  const take = (event, { ask, told }) => {
    const one = ones[ask];
    if (silent.delete(one)) one.stream = self;
    if (!silent.size) settle(true);
    if (one.stream === self) tell(one, event, told);
  };
  const fail = ({ message }) => {
    for (const one of ones) if (silent.has(one) ? !one.stream : one.stream === self) tell(one, "failed", { error: message });
  };

  const url = `/api/events?${new URLSearchParams(ones.map(({ question }) => ["ask", question]))}`;
  read(url, abort.signal, take)
    .then(() => ones.some((one) => one.stream === self && followed.has(one)) && fail(stopped()))
    .catch((error) => abort.signal.aborted || fail(error))
    .finally(() => settle(false));
  return self;
}

function tell(one, event, data) {
  if (!followed.has(one)) return;
  if (ENDS.includes(event)) followed.delete(one);
  try {
    one.take(event, data);
  } catch (error) {
    reportError(error); // of this question; the others go on
  }
}

// text/event-stream by fetch: EventSource hides why a server refuses, and asks again by itself.
async function read(url, signal, take) {
  const response = await reply(url, { signal });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read().catch(lost);
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const [, event, data] = /^event: (.*)\ndata: (.*)$/.exec(block) ?? [];
      if (event) take(event, JSON.parse(data));
    }
  }
}
