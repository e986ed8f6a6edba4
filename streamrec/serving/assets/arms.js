// Who answers whom, where more than one model does.
import { barTable } from "./bars.js";
import { by } from "./dom.js";
import { count, decimal, duration } from "./format.js";

/** told: the answer of /v1/arms. */
export function showArms({ version, arms, answering, trouble }) {
  by("arms").hidden = version === 0;
  if (version === 0) return;
  const champion = arms[0].model;
  by("arms-note").textContent = `Version ${version} of the shares, per cent of the users; beside them each model's normalised entropy. `
    + (answering === champion ? "" : `${champion} is not loaded yet: ${answering} answers for it. `) + trouble;
  by("arms-table").replaceChildren(barTable(arms.map(rowOf), ["arm", "share", "NE"], { plain: true, most: 100 }));
}

const rowOf = ({ model, role, share, ready, reason, kind, seq, staleness_ms, ne }) => ({
  name: `${model} (${role})`,
  value: share,
  text: `${decimal(share)} %`,
  more: ready ? decimal(ne) : "not ready",
  title: ready ? `${kind}, commit ${count(seq)}, ${duration(staleness_ms)} old` : reason,
  moreTitle: reason,
});
