// Forms to try rank, explain and retrieve, filled with values that the model knows.
import { showExplained, showRanked, showRetrieved } from "./answer.js";
import { h } from "./dom.js";
import { ask } from "./service.js";
import { suggestion } from "./suggestion.js";

const field = (label, control) => h("label", {}, label, control);
const area = (name, rows) => h("textarea", { name, rows, spellcheck: "false" });
const number = (name, value, rest = {}) => h("input", { name, type: "number", value, ...rest });

const USER = () => field("User", h("input", { name: "user", autocomplete: "off" }));
const SHARED = () => field("Features that all share (JSON)", area("features", 3));

const FORMS = {
  rank: {
    title: "Rank", show: showRanked,
    fields: ({ explores }) => [USER(), SHARED(), field("Candidates, one JSON object a line", area("candidates", 6)),
      h("div", { class: "row" }, field("Return", number("k", 5, { min: 1, max: 100 })),
        explores && field("Explore", h("select", { name: "policy" }, ["no", "thompson", "upper"].map((name) => h("option", {}, name)))),
        explores && field("Scale", number("scale", 1, { min: 0, step: "any" }))),
    ],
    body: (form) => ({
      ...shared(form), candidates: lines(form.candidates.value), k: +form.k.value || undefined,
      ...form.policy && form.policy.value !== "no" ? { explore: { policy: form.policy.value, scale: +form.scale.value } } : {},
    }),
    path: "/v1/rank",
  },
  explain: {
    title: "Explain", show: showExplained,
    fields: () => [USER(), field("Item", h("input", { name: "chosen", autocomplete: "off" })), field("Features (JSON)", area("features", 4))],
    body: (form) => ({ user: form.user.value || undefined, explain: true,
      candidates: [{ item: form.chosen.value || null, features: json("features", form.features.value || "{}") }] }),
    path: "/v1/rank",
  },
  retrieve: {
    title: "Retrieve", show: showRetrieved,
    fields: () => [USER(), SHARED(), field("Without these items, one a line", area("without", 2)),
      h("label", { class: "check" }, h("input", { name: "seen", type: "checkbox" }), "Without what the user has seen"),
      field("Return", number("k", 10, { min: 1, max: 100 }))],
    body: (form) => ({ ...shared(form), k: +form.k.value || undefined,
      exclude: { items: form.without.value.split("\n").filter((item) => item.trim()), seen: form.seen.checked } }),
    path: "/v1/retrieve",
  },
};

function json(name, text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`${name}: ${error.message}`);
  }
}
const lines = (text) => text.split("\n").filter((line) => line.trim()).map((line, i) => json(`candidate ${i + 1}`, line));
const shared = (form) => ({ user: form.user.value || undefined, features: json("features", form.features.value || "{}") });

export class Trial {
  #tabs; #panels; #spec = null; #forms = {}; #touched = false;

  constructor(tabs, panels) {
    [this.#tabs, this.#panels] = [tabs, panels];
    panels.oninput = () => { this.#touched = true; };
    tabs.onkeydown = (event) => this.#move({ ArrowLeft: -1, ArrowRight: 1 }[event.key]);
  }

  /** Makes a form of each thing that this service and its model can do; once. */
  async open() {
    if (this.#spec) return;
    const [document, state] = await Promise.all([ask("/openapi.json"), ask("/v1/model")]);
    this.#spec = state.spec?.spec ?? {};
    const can = { explores: "explore" in document.components.schemas.RankRequest.properties };
    const names = ["rank", "explain", ...state.retrieves ? ["retrieve"] : []];
    for (const name of names) this.#add(name, FORMS[name], can);
    this.#select(names[0]);
  }

  #add(name, settings, can) {
    const answer = h("div", { class: "answer", "aria-live": "polite" }, h("p", { class: "note" }, "The answer will stand here."));
    const form = h("form", {}, settings.fields(can), h("button", {}, settings.title));
    form.onsubmit = (event) => {
      event.preventDefault();
      send(form, answer, settings);
    };
    this.#forms[name] = form;
    this.#tabs.append(h("button", { type: "button", role: "tab", id: `tab-${name}`, "aria-controls": `panel-${name}`,
      onclick: () => this.#select(name) }, settings.title));
    this.#panels.append(h("div", { class: "panel", role: "tabpanel", id: `panel-${name}`, "aria-labelledby": `tab-${name}` }, form, answer));
  }

  #select(name) {
    for (const tab of this.#tabs.children) {
      const chosen = tab.id === `tab-${name}`;
      tab.setAttribute("aria-selected", chosen);
      tab.tabIndex = chosen ? 0 : -1;
    }
    for (const panel of this.#panels.children) panel.hidden = panel.id !== `panel-${name}`;
  }

  #move(step) {
    const tabs = [...this.#tabs.children], at = tabs.indexOf(document.activeElement);
    if (!step || at < 0) return;
    const next = tabs[(at + step + tabs.length) % tabs.length];
    next.click();
    next.focus();
  }

  /** Fills the forms from the names of weights, until somebody writes into one. */
  suggest(weights) {
    if (!this.#spec || this.#touched) return;
    for (const form of Object.values(this.#forms)) {
      for (const [name, text] of Object.entries(suggestion(this.#spec, weights, "chosen" in form.elements))) {
        if (form.elements[name] && form.elements[name].value !== text) form.elements[name].value = text;
      }
    }
  }
}

async function send(form, answer, { body, path, show }) {
  const start = performance.now();
  try {
    const got = await ask(path, body(form.elements));
    answer.replaceChildren(...show(got, performance.now() - start));
  } catch (error) {
    answer.replaceChildren(h("p", { class: "failed" }, error.message));
  }
}
