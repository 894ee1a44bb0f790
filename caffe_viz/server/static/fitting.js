// How large tiles are, so that all of them are seen at once where that is possible.
const LARGEST = 160, SMALLEST = 25; // px of the longer side: large enough for fingers
const THIN = 12; // px, of the shorter side
const CRISP = 3; // times larger: there, squares of different sizes would be seen
const GAP = 4, LINE = 14; // px between tiles, and of the number below one
const READABLE = 30; // px: a tile this wide has room for its number

// `count` tiles of `size` pixels, on `width` x `room` px -> [width, height, whether there is room for numbers].
export function fitted(count, [wide, high], width, room) {
  const longer = Math.max(wide, high);
  const least = Math.max(SMALLEST, (THIN * longer) / Math.min(wide, high));
  for (let side = LARGEST; side > least; side -= 1) {
    const tile = shaped(side);
    const columns = Math.floor((width + GAP) / (tile[0] + GAP));
    if (Math.ceil(count / columns) * (tile[1] + GAP + (tile[2] ? LINE : 0)) <= room) return tile;
  }
  return shaped(Math.min(least, width));

  // Pixels of one size where a map is enlarged much.
  function shaped(side) {
    const factor = side >= CRISP * longer ? Math.floor(side / longer) : side / longer;
    return [Math.max(1, Math.round(wide * factor)), Math.max(1, Math.round(high * factor)), wide * factor >= READABLE];
  }
}
