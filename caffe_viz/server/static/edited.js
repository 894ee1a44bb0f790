// An image that is moved, cropped and covered, as a canvas has it: values in pixels of the image, and how they are drawn.

const GREY = "#808080"; // what covers, and what comes in from outside

export const UNCHANGED = { angle: 0, x: 0, y: 0, crop: null, strokes: [] };

// `edit`: {angle in degrees, x, y, crop: [left, top, width, height] or null, strokes: [{size, points: [[x, y], ..]}]}
export function draw(canvas, image, { angle, x, y, crop, strokes }) {
  const [left, top, width, height] = crop ?? [0, 0, image.width, image.height];
  Object.assign(canvas, { width, height });
  const pen = canvas.getContext("2d");
  pen.fillStyle = pen.strokeStyle = GREY;
  pen.fillRect(0, 0, width, height);
  pen.translate(-left, -top);
  pen.save();
  pen.translate(image.width / 2 + x, image.height / 2 + y);
  pen.rotate((angle * Math.PI) / 180);
  pen.drawImage(image, -image.width / 2, -image.height / 2);
  pen.restore();
  for (const stroke of strokes) cover(pen, stroke);
}

function cover(pen, { size, points }) {
  const [[x, y]] = points;
  pen.lineWidth = size;
  pen.lineCap = pen.lineJoin = "round";
  pen.beginPath();
  pen.arc(x, y, size / 2, 0, 2 * Math.PI); // a line of no length is not drawn
  pen.fill();
  pen.beginPath();
  for (const point of points) pen.lineTo(...point);
  pen.stroke();
}

// The part of `crop` between two corners on the canvas, or `crop` itself where that is next to nothing.
export function cropped(crop, image, [x1, y1], [x2, y2]) {
  const [left, top, width, height] = crop ?? [0, 0, image.width, image.height];
  const inside = (value, most) => Math.min(Math.max(Math.round(value), 0), most);
  const [from, to] = [inside(Math.min(x1, x2), width), inside(Math.max(x1, x2), width)];
  const [above, below] = [inside(Math.min(y1, y2), height), inside(Math.max(y1, y2), height)];
  return to - from < 4 || below - above < 4 ? crop : [left + from, top + above, to - from, below - above];
}
