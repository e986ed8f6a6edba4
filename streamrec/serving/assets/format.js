// Numbers, durations and times as people read them.
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const UNITS = [["d", 86_400_000], ["h", 3_600_000], ["min", 60_000], ["s", 1000]];

export const count = (n) => n == null ? "–" : Math.abs(n) < 100_000 ? whole.format(n) : compact.format(n);

/** Three digits that say something; 0.8713, 12.3, 1,240. */
export function decimal(x) {
  if (x == null) return "–";
  const size = Math.abs(x);
  if (size !== 0 && (size < 0.001 || size >= 1e6)) return x.toExponential(2);
  return size >= 1000 ? whole.format(x) : String(+x.toFixed(size < 10 ? 4 : 1));
}

export const signed = (x) => (x > 0 ? "+" : x < 0 ? "−" : "") + Math.abs(x).toFixed(Math.abs(x) < 9.9995 ? 3 : 1);

export function duration(ms) {
  if (ms == null) return "–";
  for (const [unit, size] of UNITS) {
    if (Math.abs(ms) >= size) return `${+(ms / size).toFixed(ms / size < 10 ? 1 : 0)} ${unit}`;
  }
  return `${Math.round(ms)} ms`;
}

export const rate = (perSecond) => perSecond == null ? "–" : perSecond >= 100 ? count(perSecond) : String(+perSecond.toFixed(1));
export const clock = (ms) => new Date(ms).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
export const day = (ms) => new Date(ms).toISOString().slice(0, 10);
