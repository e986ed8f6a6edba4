// A line chart: grid, one curve, a line to compare with, and a cursor for mouse, finger and arrow keys.
import { h, s } from "./dom.js";

const LEFT = 44, RIGHT = 10, TOP = 8, BOTTOM = 22;

/** {figure, draw}. settings: title, hint, value and x (number → text), reference; zero: the axis
 * begins at 0 and goes up to this at least. */
export function lineChart(settings) {
  const output = h("output", { "aria-live": "off" });
  const caption = h("figcaption", {}, h("b", {}, settings.title), output, h("span", {}, settings.hint));
  const svg = s("svg", { role: "img", tabindex: 0 });
  const empty = h("p", { class: "empty" }, "nothing yet");
  const figure = h("figure", { class: "chart" }, caption, empty);
  let points = [], marks = [], at = null, placed = null;

  const show = (i) => {
    at = i;
    placed = points.length ? paint(svg, points, i, { ...settings, marks }) : null;
    const [x, y] = points[i ?? points.length - 1] ?? [];
    output.textContent = y == null ? "" : settings.value(y) + (i == null ? "" : ` at ${settings.x(x)}`);
  };
  svg.onpointermove = (event) => placed && show(nearest(placed, event.clientX - svg.getBoundingClientRect().left));
  svg.onpointerleave = svg.onblur = () => show(null);
  svg.onkeydown = (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || !points.length) return;
    event.preventDefault();
    show(Math.min(points.length - 1, Math.max(0, (at ?? points.length) + step)));
  };
  new ResizeObserver(() => show(at)).observe(figure);

  return {
    figure,
    /** next: [x, y] ascending in x, those whose y is unknown left out; why: said where there are none; marks: xs. */
    draw(next, why = "nothing yet", nextMarks = []) {
      marks = nextMarks;
      points = next.filter(([, y]) => y != null);
      const drawn = points.length > 1 ? svg : empty;
      if (!drawn.isConnected || drawn.parentNode !== figure) figure.lastChild.replaceWith(drawn);
      empty.textContent = points.length === 1 ? `${settings.value(points[0][1])}; a curve needs two points` : why;
      svg.setAttribute("aria-label", summary(settings, points));
      show(at != null && at < points.length ? at : null);
    },
  };
}

function summary({ title, value, x }, points) {
  if (points.length < 2) return title;
  const [first, last] = [points[0], points.at(-1)];
  return `${title}: from ${value(first[1])} at ${x(first[0])} to ${value(last[1])} at ${x(last[0])}`;
}

const nearest = (xs, x) => xs.reduce((best, each, i) => Math.abs(each - x) < Math.abs(xs[best] - x) ? i : best, 0);

/** Draws; returns where the points are, in pixels. */
function paint(svg, points, at, { value, x: name, reference, zero, marks }) {
  const { width, height } = svg.getBoundingClientRect();
  if (!width) return null;
  const [low, high] = range(points.map(([, y]) => y), reference, zero);
  const [first, last] = [points[0][0], points.at(-1)[0]];
  const across = (x) => LEFT + (x - first) / (last - first || 1) * (width - LEFT - RIGHT);
  const up = (y) => height - BOTTOM - (y - low) / (high - low) * (height - TOP - BOTTOM);
  const line = (y, kind) => s("line", { class: kind, x1: LEFT, x2: width - RIGHT, y1: up(y), y2: up(y) });
  const label = (x, y, text, anchor) => s("text", { x, y, "text-anchor": anchor }, text);
  const path = points.map(([x, y]) => `${across(x).toFixed(1)},${up(y).toFixed(1)}`).join("L");
  const base = up(low).toFixed(1);
  const parts = ticks(low, high).flatMap((y) => [line(y, "grid"), label(LEFT - 6, up(y) + 4, value(y), "end")]);
  parts.push(label(LEFT, height - 5, name(first), "start"), label(width - RIGHT, height - 5, name(last), "end"));
  if (reference != null && reference >= low && reference <= high) parts.push(line(reference, "reference"));
  parts.push(s("path", { class: "under", d: `M${path}V${base}H${across(first).toFixed(1)}Z` }));
  parts.push(s("path", { class: "curve", d: `M${path}` }));
  for (const mark of marks.filter((each) => each >= first && each <= last)) {
    const x = across(mark);
    parts.push(s("line", { class: "alarm", x1: x, x2: x, y1: TOP, y2: height - BOTTOM }, s("title", {}, `alarm at ${name(mark)}`)));
  }
  const [x, y] = points[at ?? points.length - 1];
  if (at != null) parts.push(s("line", { class: "cursor", x1: across(x), x2: across(x), y1: TOP, y2: height - BOTTOM }));
  parts.push(s("circle", { class: "dot", cx: across(x), cy: up(y), r: 4 }));
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.replaceChildren(...parts);
  return points.map(([each]) => across(each));
}

/** Of the axis: the values with some room, and the reference where it is near. */
function range(values, reference, zero) {
  let low = Math.min(...values), high = Math.max(...values);
  const spread = high - low || Math.abs(high) * 0.1 || 1;
  if (reference != null && reference > low - 1.5 * spread && reference < high + 1.5 * spread) {
    [low, high] = [Math.min(low, reference), Math.max(high, reference)];
  }
  const room = (high - low || spread) * 0.08;
  return zero != null ? [0, Math.max(high, zero) * 1.1] : [low - room, high + room];
}

/** Two to five round numbers within. */
function ticks(low, high) {
  const rough = (high - low) / 4, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough);
  const found = [];
  for (let y = Math.ceil(low / step) * step; y <= high; y += step) found.push(+y.toPrecision(12));
  return found;
}
