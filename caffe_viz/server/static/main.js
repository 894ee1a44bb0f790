// The live view: every module fills its section, then all follow the state.
import * as about from "./about.js";
import * as api from "./api.js";
import { failed } from "./dom.js";
import * as keys from "./keys.js";
import * as layers from "./layers.js";
import * as maps from "./maps.js";
import * as report from "./report.js";
import { start } from "./state.js";
import * as status from "./status.js";
import * as unit from "./unit.js";

// Modules and the sections that they fill: mount(root, network), where `network` is what /api/network says.
const MODULES = [
  [layers, "layers"],
  [maps, "maps"],
  [unit, "unit"],
  [about, "tools"],
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
