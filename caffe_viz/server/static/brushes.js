// What a drag on the edited image does, and the keys that do the same: a table of tools. `at` is [x, y] on the canvas;
// an editor has `edit` and `original`, `width` and `height` of the canvas, change(values) and outline(box or null).
import { cropped } from "./edited.js";

const STEPS = 50; // as many key presses go across the image

const added = ([x, y], [dx, dy]) => [x + dx, y + dy];
const step = ({ original }) => Math.max(1, Math.round(Math.min(original.width, original.height) / STEPS));

// From the canvas to the image that is not cropped.
const placed = ({ edit }, [x, y]) => [x + (edit.crop?.[0] ?? 0), y + (edit.crop?.[1] ?? 0)];

const brush = (editor) => Math.max(1, (editor.brush / 100) * Math.min(editor.original.width, editor.original.height));
const round = (editor, [x, y], size = brush(editor)) => [x - size / 2, y - size / 2, size, size];

function paint(editor, at, begin) {
  const strokes = editor.edit.strokes, last = strokes.at(-1), point = placed(editor, at);
  editor.change({
    strokes: begin ? [...strokes, { size: brush(editor), points: [point] }]
      : [...strokes.slice(0, -1), { ...last, points: [...last.points, point] }],
  });
}

const shift = {
  help: "Drag the image, or move it with the arrow keys.",
  press(editor, at) {
    this.from = at;
    this.before = [editor.edit.x, editor.edit.y];
  },
  drag(editor, at) {
    const [x, y] = added(this.before, [at[0] - this.from[0], at[1] - this.from[1]]).map(Math.round);
    editor.change({ x, y });
  },
  arrow(editor, [dx, dy]) {
    editor.change({ x: editor.edit.x + dx * step(editor), y: editor.edit.y + dy * step(editor) });
  },
};

const cover = {
  help: "Paint over what the network should not see. Keys: arrows move the brush, the space bar paints.",
  press: (editor, at) => paint(editor, at, true),
  drag(editor, at) {
    paint(editor, at, false);
    this.hover(editor, at);
  },
  hover(editor, at) {
    this.at = at;
    editor.outline(round(editor, at));
  },
  arrow(editor, [dx, dy]) {
    const by = Math.max(step(editor), brush(editor) / 4);
    const [x, y] = added(this.at ?? [editor.width / 2, editor.height / 2], [dx * by, dy * by]);
    this.hover(editor, [Math.min(Math.max(x, 0), editor.width), Math.min(Math.max(y, 0), editor.height)]);
  },
  space(editor) {
    this.hover(editor, this.at ?? [editor.width / 2, editor.height / 2]);
    paint(editor, this.at, true);
  },
};

const crop = {
  help: "Drag over the part to keep. Keys: each arrow cuts a bit off its side.",
  press(_, at) {
    this.from = at;
  },
  drag(editor, [x, y]) {
    const [left, top] = this.from;
    editor.outline([Math.min(left, x), Math.min(top, y), Math.abs(x - left), Math.abs(y - top)]);
  },
  release(editor, at) {
    this.keep(editor, this.from, at);
  },
  arrow(editor, [dx, dy]) {
    const by = step(editor), { width, height } = editor;
    const near = [dx < 0 ? by : 0, dy < 0 ? by : 0];
    this.keep(editor, near, [width - (dx > 0 ? by : 0), height - (dy > 0 ? by : 0)]);
  },
  keep(editor, from, to) {
    editor.outline(null);
    const part = cropped(editor.edit.crop, editor.original, from, to);
    if (part !== editor.edit.crop) editor.change({ crop: part });
  },
};

export const TOOLS = { shift, cover, crop };
