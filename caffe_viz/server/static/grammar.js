// How a unit is written in an objective: caffe_viz/objectives/writing.py.
const PLAIN = /^[A-Za-z_]([\w./-]*[\w./])?$/;

export const named = (layer) => (PLAIN.test(layer) ? layer : `"${layer.replaceAll('"', '""')}"`);
export const unitOf = (layer, unit) => `${named(layer)}:${unit}`;
