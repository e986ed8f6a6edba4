// Texts for the forms: values that the model has a weight for, else something of the right kind.
const ANY = { category: "a", bag: ["a"], number: 1, text: "some words" };

/** By name of a form's field. single: of the form for one item. */
export function suggestion({ fields = [], crosses = [] }, weights, single) {
  const known = {};
  for (const part of weights.flatMap(({ name }) => name?.split("×") ?? [])) {
    const at = part.indexOf("=");
    if (at > 0) (known[part.slice(0, at)] ??= new Set()).add(part.slice(at + 1));
  }
  for (const name in known) known[name] = [...known[name]];
  const crossed = new Set(crosses.flatMap((cross) => cross.fields));
  const shared = {}, own = [{}, {}, {}];
  for (const { name, kind, source } of fields) {
    if (!source.startsWith("features.") || source === "features.*") continue;
    const feature = source.slice("features.".length);
    if (!crossed.has(name) && !single) shared[feature] = valueOf(kind, known[name], 0);
    else own.forEach((its, i) => { its[feature] = valueOf(kind, known[name], i); });
  }
  const items = (known.item ?? []).concat("i1", "i2", "i3").slice(0, 3);
  const candidates = items.map((item, i) => JSON.stringify({ item, features: own[i] })).join("\n");
  const features = JSON.stringify(single ? own[0] : shared);
  return { user: known.user?.[0] ?? "u1", chosen: items[0], features, candidates };
}

function valueOf(kind, known, i) {
  const value = known?.[i % known.length];
  if (value === undefined) return ANY[kind] ?? "a";
  return kind === "bag" ? [value] : value;
}
