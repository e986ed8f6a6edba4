// The numbers of now.
import { h } from "./dom.js";
import { count, day, decimal, duration, rate } from "./format.js";

export function showTiles(list, recent) {
  const tiles = tilesOf(recent);
  if (list.children.length !== tiles.length) {
    list.replaceChildren(...tiles.map(() => h("div", {}, h("dt"), h("dd"), h("dd"))));
  }
  tiles.forEach((texts, i) => texts.forEach((text, j) => {
    const cell = list.children[i].children[j];
    if (cell.textContent !== text) cell.textContent = text;
  }));
}

/** [name, number, more] of each. */
function tilesOf(recent) {
  const { now, last } = recent, ms = recent.p99;
  const behind = recent.behind().at(-1)?.[1];
  const score = last?.ne != null || last?.rmse == null
    ? ["Normalised entropy", decimal(last?.ne), last?.auc == null ? "last 10,000 examples" : `AUC ${decimal(last.auc)}, last 10,000 examples`]
    : ["Root mean squared error", decimal(last.rmse), "last 10,000 examples"];
  return [
    ["Age of answers", duration(now.staleness_ms), `commit ${count(now.seq)} of epoch ${now.epoch}`],
    recent.isReplay()
      ? ["Newest event", day(last.event_time_ms), "a replay: not from today"]
      : ["Behind the events", duration(behind), "when last committed"],
    ["Learned", count(last?.examples), learning(recent.learning())],
    ["Ranked", `${rate(recent.asked.at(-1)?.[1])}/s`, asked(ms, recent.refused)],
    score,
    ["Calibration", decimal(last?.calibration), "1 is right"],
  ];
}

const learning = (perSecond) => perSecond == null ? "examples" : perSecond === 0 ? "examples; nothing new" : `examples, ${rate(perSecond)} a second`;

function asked(ms, refused) {
  if (refused > 0) return `${rate(refused)} a second refused`;
  return ms == null ? "no request of late" : ms === Infinity ? "slowest above 5 s" : `99 % within ${duration(ms)}`;
}
