// A heat map of how strongly two fields act together: below the diagonal, darker is stronger.
import { h, s } from "./dom.js";
import { decimal } from "./format.js";

const NUMBERED = 12;

export function heatMap({ fields, strength, pairs }) {
  const n = fields.length, numbered = n <= NUMBERED, CELL = n <= 6 ? 68 : 46;
  const left = 14 + 6.6 * Math.min(18, Math.max(...fields.map((name) => name.length)));
  const most = pairs[0]?.strength || 1;
  const parts = [];
  for (let i = 1; i < n; i++) {
    parts.push(s("text", { x: left - 8, y: (i - 0.5) * CELL + 4, "text-anchor": "end" }, short(fields[i])));
    for (let j = 0; j < i; j++) parts.push(...cell(
      [left + j * CELL, (i - 1) * CELL, CELL], strength[i][j], most, numbered, `${fields[j]} × ${fields[i]}`));
  }
  for (let j = 0; j < n - 1; j++) {
    const [x, y] = [left + (j + 0.5) * CELL, (n - 1) * CELL + 14];
    parts.push(s("text", { x, y, "text-anchor": "end", transform: `rotate(-40 ${x} ${y})` }, short(fields[j])));
  }
  const best = pairs.slice(0, 3).map(({ fields: [a, b], strength: x }) => h("li", {}, `${a} × ${b}: ${decimal(x)}`));
  const label = `Heat map of ${n} fields. Strongest: ${best.map((each) => each.textContent).join(", ")}`;
  const size = `0 0 ${left + (n - 1) * CELL + 8} ${(n - 1) * CELL + 0.75 * left + 8}`;
  const svg = s("svg", { class: "heat", viewBox: size, role: "img", "aria-label": label }, parts);
  svg.style.maxWidth = `${left + (n - 1) * CELL + 8}px`;
  return [svg, h("ol", { class: "strongest" }, best)];
}

function cell([x, y, size], value, most, numbered, name) {
  const share = value / most;
  const rect = s("rect", { x, y, width: size, height: size, rx: 5, class: value ? null : "none" },
    s("title", {}, `${name}: ${value ? decimal(value) : "not crossed"}`));
  if (!value) return [rect];
  rect.style.fill = `color-mix(in oklab, var(--accent) ${Math.round(8 + 92 * share)}%, var(--soft))`;
  if (!numbered) return [rect];
  const text = { x: x + size / 2, y: y + size / 2 + 4, "text-anchor": "middle", class: share > 0.55 ? "on-strong" : "on-weak" };
  return [rect, s("text", text, value.toPrecision(2))];
}

const short = (name) => name.length > 18 ? `${name.slice(0, 17)}…` : name;
