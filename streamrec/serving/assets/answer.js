// What the service answered, as tables with bars.
import { barTable, key } from "./bars.js";
import { h } from "./dom.js";
import { count, decimal, duration, signed } from "./format.js";

const from = ({ seq, epoch, staleness_ms }, ms) =>
  h("p", { class: "note" }, `From commit ${count(seq)} of epoch ${epoch}, ${duration(staleness_ms)} old; answered in ${ms.toFixed(1)} ms.`);

export function showRanked(answer, ms) {
  const rows = answer.items.map((each, i) => ({
    name: `${i + 1}. ${each.item ?? "(no item)"}`, value: each.probability, text: decimal(each.probability),
    more: each.confidence.toPrecision(2), moreTitle: "how far one more example can move the log-odds",
  }));
  const parts = [from(answer, ms)];
  if (rows.length) parts.push(barTable(rows, ["item", "prediction", "± logit"], { plain: true }));
  if (answer.explored) parts.push(h("p", { class: "note" }, explored(answer)));
  return parts;
}

function explored({ explored: { policy, scale, seed }, items }) {
  const chance = items[0]?.propensity;
  return `Ranked by ${policy === "upper" ? "upper bound" : "Thompson sampling"}, scale ${scale}${seed == null ? "" : `, seed ${seed}`}`
    + (chance == null ? "." : `; the first item comes first with probability ${decimal(chance)}.`);
}

export function showExplained(answer, ms) {
  const [item] = answer.items;
  const rows = item.contributions.slice(0, 25).map((each) => ({
    name: each.feature, value: each.contribution, text: signed(each.contribution), ...known(each),
  }));
  const title = `${item.item ?? "this"}: ${decimal(item.probability)}`;
  return [from(answer, ms), h("h3", {}, title), method(item), barTable(rows, ["value", "effect", "seen"]), key("raises the score", "lowers it")];
}

function known({ count: n, count_is: how, age_s: age }) {
  if (n == null) return {};
  const exact = how === "counted";
  const when = age == null ? "" : `, last ${duration(age * 1000)} ago`;
  return { more: `${exact ? "" : "~"}${count(Math.round(n))}`, moreTitle: `${exact ? "examples counted" : "estimated from its squared gradients"}${when}` };
}

function method({ method, offset }) {
  return h("p", { class: "note" }, method === "terms"
    ? `Effects on the log-odds; with the base rate's ${signed(offset)} they add up.`
    : "The score with each field minus that without it; these need not add up.");
}

export function showRetrieved(answer, ms) {
  const scores = answer.items.map(({ score }) => score), low = Math.min(...scores, 0);
  const rows = answer.items.map(({ item, score }, i) => ({ name: `${i + 1}. ${item}`, value: score - low, text: decimal(score) }));
  return [from(answer, ms), rows.length ? barTable(rows, ["item", "score"], { plain: true }) : h("p", {}, "no item")];
}
