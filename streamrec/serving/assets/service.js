// Asking the service: JSON with the token that the page was given, and the few numbers of /metrics that it shows.
let token = "";
export const useToken = (given) => { token = given; };

/** The JSON answer. Throws an Error with the service's own line; its status is 0 where there was no answer. */
export async function ask(path, body) {
  const options = { headers: token ? { authorization: `Bearer ${token}` } : {} };
  if (body !== undefined) {
    Object.assign(options, { method: "POST", body: JSON.stringify(body) });
    options.headers["content-type"] = "application/json";
  }
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw Object.assign(new Error("the service does not answer"), { status: 0 });
  }
  const value = await answer.json().catch(() => ({}));
  if (!answer.ok) throw Object.assign(new Error(value.detail ?? answer.statusText), { status: answer.status });
  return value;
}

/** Sums of Prometheus's text: ranks answered, refusals, and ranks by the upper bound of their seconds. */
export async function load() {
  const text = await (await fetch("/metrics")).text();
  const found = { ranks: 0, refused: 0, buckets: [] };
  for (const [, name, labels, value] of text.matchAll(/^streamrec_scorer_(\w+)(?:\{(.*?)\})? (\S+)$/gm)) {
    if (name === "rank_seconds_count") found.ranks = +value;
    if (name === "refused_total") found.refused += +value;
    if (name === "rank_seconds_bucket") found.buckets.push([Number(/le="(.*?)"/.exec(labels)[1].replace("+Inf", "Infinity")), +value]);
  }
  return found;
}

/** The bound in ms under which a share of the ranks between two loads were answered. */
export function answeredUnder(before, now, share) {
  const at = now.buckets.findIndex(([, n], i) => n - before.buckets[i][1] >= share * (now.ranks - before.ranks));
  return at < 0 ? null : now.buckets[at][0] * 1000;
}
