// The last minutes: commits as the service remembers them, ages and requests as this page saw them.
import { answeredUnder } from "./service.js";

const KEPT = 600, DAY_MS = 86_400_000, QUIET_MS = 10_000, MOMENT_MS = 1000;

export class Recent {
  points = [];
  ages = [];
  asked = [];
  seq = 0;
  now = null; // the last answer of /v1/model/history
  p99 = null;
  refused = 0; // a second

  #load = null;
  #at = 0;

  /** An answer of /v1/model/history after `seq`, and what /metrics said with it. */
  take(history, requests) {
    const another = this.now && history.model !== this.now.model; // another champion: its points come with the next answer
    if (another || this.now && (history.seq < this.now.seq || history.epoch < this.now.epoch)) this.points = []; // it began anew
    this.seq = another ? 0 : history.seq;
    this.now = history;
    for (const point of another ? [] : history.points) {
      const last = this.points.at(-1);
      if (last && Math.floor(last.time_ms / 1000) === Math.floor(point.time_ms / 1000)) this.points.pop();
      this.points.push(point);
    }
    this.points = this.points.slice(-KEPT);
    this.#count(Date.now(), requests);
    this.ages = [...this.ages, [Date.now(), history.staleness_ms]].slice(-KEPT);
  }

  #count(at, requests) {
    const before = this.#load, seconds = (at - this.#at) / 1000;
    [this.#load, this.#at] = [requests, at];
    if (!before || requests.ranks < before.ranks) return;
    this.asked = [...this.asked, [at, (requests.ranks - before.ranks) / seconds]].slice(-KEPT);
    this.refused = (requests.refused - before.refused) / seconds;
    if (requests.ranks > before.ranks) this.p99 = answeredUnder(before, requests, 0.99);
  }

  get last() {
    return this.points.at(-1);
  }

  /** Examples a second between commits; where none came for long nothing was learned, and the next has a moment's. */
  learned() {
    return this.points.slice(1).flatMap((point, i) => {
      const { time_ms, examples } = this.points[i], quiet = point.time_ms - time_ms > QUIET_MS;
      const seconds = quiet ? MOMENT_MS / 1000 : (point.time_ms - time_ms) / 1000;
      const now = [point.time_ms, examples == null ? null : (point.examples - examples) / seconds];
      return quiet ? [[time_ms + MOMENT_MS, 0], [point.time_ms - MOMENT_MS, 0], now] : [now];
    });
  }

  /** Examples a second now: over the last ten seconds; 0 where no commit came in them. */
  learning() {
    const end = this.last;
    if (!end || end.examples == null) return null;
    if (this.now.staleness_ms > QUIET_MS) return 0;
    const begin = this.points.find(({ time_ms }) => time_ms >= end.time_ms - QUIET_MS);
    return begin === end ? null : (end.examples - begin.examples) / ((end.time_ms - begin.time_ms) / 1000);
  }

  /** Ms from the newest event to the commit that has it; none for events of other days. */
  behind() {
    if (this.isReplay()) return [];
    return this.points.map(({ time_ms, event_time_ms }) => [time_ms, event_time_ms == null ? null : Math.max(0, time_ms - event_time_ms)]);
  }

  isReplay() {
    const end = this.last;
    return end?.event_time_ms != null && Math.abs(end.time_ms - end.event_time_ms) > DAY_MS;
  }
}
