// The live view: every module fills its section, then all follow the state.
import * as about from "./about.js";
import * as answers from "./answers.js";
import * as api from "./api.js";
import * as ascent from "./ascent.js";
import * as attribution from "./attribution.js";
import * as band from "./band.js";
import * as compare from "./compare.js";
import * as copying from "./copying.js";
import { failed } from "./dom.js";
import * as images from "./images.js";
import * as keys from "./keys.js";
import * as layers from "./layers.js";
import * as maps from "./maps.js";
import * as objective from "./objective.js";
import * as report from "./report.js";
import { start } from "./state.js";
import * as status from "./status.js";
import * as title from "./title.js";
import * as training from "./training.js";
import * as unit from "./unit.js";

// Modules and the sections that they fill: mount(root, network), where `network` is what /api/network says.
const MODULES = [
  [images, "images"],
  [answers, "answers"],
  [layers, "layers"],
  [maps, "maps"],
  [unit, "unit"],
  [attribution, "attribution"],
  [ascent, "ascent"],
  [objective, "objective"],
  [compare, "compare"],
  [training, "training"],
  [title, "name"],
  [band, "tools"],
  [about, "tools"],
  [copying, "tools"],
  [report, "tools"],
  [keys, "tools"],
];

const at = (id) => document.getElementById(id);

status.mount(at("status"));
try {
  const network = await api.network();
  for (const [module, id] of MODULES) module.mount(at(id), network);
  start();
} catch (error) {
  if (!(error instanceof api.Failure)) throw error;
  at("status").after(failed(error));
}
