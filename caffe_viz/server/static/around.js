// Which part of an image to show of a small place in it.
const LEAST = 32; // px

// {left, top, width, height}: a box (top, left, bottom, right) with half its size on each side, within width x height.
export function around([top, left, bottom, right], { width, height }) {
  const across = span(left, right, width), down = span(top, bottom, height);
  return { left: across.from, top: down.from, width: across.size, height: down.size };
}

function span(low, high, all) {
  const size = Math.min(all, Math.max(2 * (high - low), LEAST));
  const from = Math.round((low + high - size) / 2);
  return { from: Math.min(Math.max(0, from), all - size), size };
}
