// Tables with a bar in each row: to both sides of zero, or from the left.
import { h } from "./dom.js";

/** rows: {name, value, text, more, unnamed}; heads: of name, value and, where rows have `more`, that. */
export function barTable(rows, heads, { plain = false, most = 0 } = {}) {
  const size = most || Math.max(...rows.map(({ value }) => Math.abs(value)), 1e-12);
  const cells = [h("th", { scope: "col" }, heads[0]), h("th", { scope: "col" }, ""),
    h("th", { scope: "col", class: "number" }, heads[1])];
  if (heads[2]) cells.push(h("th", { scope: "col", class: "more" }, heads[2]));
  return h("table", { class: "bars" }, h("thead", {}, h("tr", {}, cells)),
    h("tbody", {}, rows.map((row) => h("tr", {},
      h("th", { scope: "row", class: row.unnamed && "unnamed", title: row.title }, broken(row.name)),
      h("td", {}, bar(row.value / size, plain)),
      h("td", { class: "number" }, row.text),
      heads[2] ? h("td", { class: "more", title: row.moreTitle }, row.more ?? "") : null))));
}

/** A name may go on in the next line before a × and after a =. */
const broken = (name) => name.split(/(?=×)|(?<==)/).flatMap((part, i) => i ? [h("wbr"), part] : [part]);

function bar(share, plain) {
  const inner = h("i");
  const width = Math.min(Math.abs(share), 1) * (plain ? 100 : 50);
  inner.style.width = `${width}%`;
  inner.style.left = plain ? "0" : `${share < 0 ? 50 - width : 50}%`;
  return h("div", { class: `bar${share < 0 ? " negative" : ""}${plain ? " plain" : ""}`, "aria-hidden": "true" }, inner);
}

export const key = (positive, negative) =>
  h("p", { class: "key" }, h("i"), positive, h("i", { class: "negative" }), negative);
