// The live page: asks the service once a second while somebody looks, and draws what it says.
import { showArms } from "./arms.js";
import { barTable, key } from "./bars.js";
import { lineChart } from "./chart.js";
import { by, h } from "./dom.js";
import { clock, count, decimal, duration, rate, signed } from "./format.js";
import { heatMap } from "./heat.js";
import { Recent } from "./recent.js";
import { ask, load, useToken } from "./service.js";
import { showTiles } from "./tiles.js";
import { Trial } from "./trial.js";

const EVERY_MS = 1000, SLOW_TURNS = 3, NEWS = 10_000;
const recent = new Recent(), trial = new Trial(by("tabs"), by("panels"));
let span = "life", life = null, turn = 0;

const CURVES = {
  ne: { title: "Normalised entropy", hint: "1 = base rate only, lower is better", value: decimal, reference: 1 },
  auc: { title: "AUC", hint: "0.5 = chance, higher is better", value: decimal, reference: 0.5 },
  rmse: { title: "Root mean squared error", hint: "lower is better", value: decimal },
  calibration: { title: "Calibration", hint: "mean prediction / mean label, 1 is right", value: decimal, reference: 1 },
};
const curves = {};
for (const [name, settings] of Object.entries(CURVES)) {
  const x = (at) => span === "life" ? `${count(at)} scored` : clock(at);
  curves[name] = lineChart({ ...settings, x });
}
const flows = {
  learned: lineChart({ title: "Learned", hint: "examples a second", value: rate, x: clock, zero: 10 }),
  behind: lineChart({ title: "Behind the events", hint: "commit after newest event", value: duration, x: clock, zero: 100 }),
  age: lineChart({ title: "Age of answers", hint: "since the commit served", value: duration, x: clock, zero: 100 }),
  asked: lineChart({ title: "Ranked", hint: "requests a second", value: rate, x: clock, zero: 10 }),
};
by("flows").append(...Object.values(flows).map(({ figure }) => figure));

for (const button of by("span").children) button.onclick = () => {
  span = button.value;
  for (const each of by("span").children) each.setAttribute("aria-pressed", each === button);
  drawCurves();
};

by("token-form").onsubmit = (event) => {
  event.preventDefault();
  useToken(by("token").value);
  by("token-form").hidden = true;
  turn = 0;
};

/** For a click model normalised entropy and AUC, for a rating model the error; calibration for both. */
function drawCurves() {
  const { points } = recent;
  const seen = (name) => span === "life" && life
    ? life.examples.map((n, i) => [n, life[name][i]])
    : points.map((point) => [point.time_ms, point[name]]);
  const isClick = points.some(({ ne }) => ne != null) || !points.some(({ rmse }) => rmse != null);
  const shown = isClick ? ["ne", "auc", "calibration"] : ["rmse", "calibration"];
  const figures = shown.map((name) => curves[name].figure);
  if (by("curves").children.length !== figures.length || by("curves").firstChild !== figures[0]) by("curves").replaceChildren(...figures);
  const why = span === "life" ? "the first point comes after 100 scored examples" : "nothing yet";
  const marks = span === "life" ? (recent.now?.alarms ?? []).map(({ example }) => example).filter((n) => n != null) : [];
  for (const name of shown) curves[name].draw(seen(name), why, marks);
}

function drawFlows() {
  flows.learned.draw(recent.learned(), "waiting for a second commit");
  flows.behind.draw(recent.behind(), recent.isReplay() ? "these events are not from today: a replay" : "nothing yet");
  flows.age.draw(recent.ages);
  flows.asked.draw(recent.asked);
}

function showStatus(state, text) {
  by("status").dataset.state = state;
  if (by("status").textContent !== text) by("status").textContent = text;
}

/** Those that came to light among the examples of the last curve's window are news; older ones are marks only. */
function showAlarms(alarms) {
  const scored = life?.examples.at(-1) ?? 0;
  const news = alarms.filter(({ example }) => example == null || example > scored - NEWS).map(({ text }) => text);
  by("alarms").hidden = !news.length;
  if (by("alarms").textContent !== news.join("")) by("alarms").replaceChildren(...news.map((text) => h("li", {}, text)));
}

async function drawInside() {
  const [weights, crosses] = await Promise.all([ask("/v1/model/weights"), ask("/v1/model/crosses")]);
  const rows = weights.weights.slice(0, 15).map(({ id, name, weight }) => (
    { name: name ?? `#${id}`, unnamed: !name, value: weight, text: signed(weight), title: name ? `id ${id}` : "not in a request of late" }));
  const plain = rows.every(({ value }) => value >= 0) && weights.measure.startsWith("length");
  by("weights-note").textContent = `Of ${count(weights.rows)} rows, the ${plain ? "longest vectors" : "weights largest in absolute value"}. `
    + "Ids are hashes: names are those that requests of late have told.";
  by("weights").replaceChildren(...rows.length ? [barTable(rows, ["value", plain ? "length" : "weight"], { plain })] : ["nothing yet"],
    ...rows.length && !plain ? [key("raises the score", "lowers it")] : []);
  const measure = crosses.measure.split(";")[0]; // what stands on the diagonal is not drawn
  by("crosses-note").textContent = crosses.reason || `Strength: ${measure}; ${crosses.examples
    ? `over ${count(crosses.examples)} candidates scored of late.` : "without examples."}`;
  by("crosses").replaceChildren(...crosses.pairs.length ? heatMap(crosses) : []);
  trial.suggest(weights.weights);
}

async function look() {
  const [history, requests, arms] = await Promise.all([ask(`/v1/model/history?after=${recent.seq}`), load(), ask("/v1/arms")]);
  recent.take(history, requests);
  by("model").textContent = history.model;
  document.title = `${history.model} – streamrec`;
  showStatus(history.ready ? "ready" : "bad", history.ready ? `live · ${history.kind ?? "model"}` : history.reason);
  showAlarms(history.alarms);
  showTiles(by("tiles"), recent);
  showArms(arms);
  drawFlows();
  if (turn++ % SLOW_TURNS === 0) {
    [life] = await Promise.all([ask("/v1/model/curves"), trial.open()]);
    await drawInside().catch((error) => { by("weights-note").textContent = error.message; });
  }
  drawCurves();
}

async function run() {
  try {
    if (!document.hidden && by("token-form").hidden) await look();
  } catch (error) {
    showStatus("bad", error.message);
    if (error.status === 401) by("token-form").hidden = false;
    turn = 0;
  }
  document.body.dataset.turns = turn;
  setTimeout(run, EVERY_MS);
}
run();
