// Readings of /metrics: Prometheus text, and what changed between two of them.

/** The samples of a text: `{name: [{labels, value}]}`. */
export function parse(text) {
  const families = new Map();
  for (const line of text.split("\n")) {
    if (line === "" || line.startsWith("#")) continue;
    const end = line.lastIndexOf(" ");
    const open = line.indexOf("{");
    const name = open < 0 ? line.slice(0, end) : line.slice(0, open);
    const labels = {};
    if (open >= 0) {
      for (const [, key, value] of line.slice(open + 1, line.lastIndexOf("}")).matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) {
        labels[key] = value;
      }
    }
    if (!families.has(name)) families.set(name, []);
    families.get(name).push({ labels, value: Number(line.slice(end + 1)) });
  }
  return families;
}

const matches = (labels, wanted) => Object.entries(wanted).every(([name, value]) => labels[name] === value);

/** The sum of a family's samples with these labels; null if there are none. */
export function sum(reading, name, labels = {}) {
  const found = (reading.get(name) || []).filter((it) => matches(it.labels, labels));
  return found.length === 0 ? null : found.reduce((total, it) => total + it.value, 0);
}

/** Sums by the value of one label. */
export function by(reading, name, label, labels = {}) {
  const sums = new Map();
  for (const it of reading.get(name) || []) {
    if (matches(it.labels, labels)) sums.set(it.labels[label], (sums.get(it.labels[label]) || 0) + it.value);
  }
  return sums;
}

/** How much a counter grew; a counter that fell began anew with the process. */
export function grown(now, before, name, labels = {}) {
  const [at, was] = [sum(now, name, labels) ?? 0, sum(before, name, labels) ?? 0];
  return at >= was ? at - was : at;
}

/**
 * The quantile `q` of a histogram's observations between two readings, by linear interpolation
 * within its bucket as Prometheus does; null if there were none.
 */
export function quantile(now, before, name, labels, q) {
  const buckets = [...by(now, `${name}_bucket`, "le", labels).keys()]
    .map((le) => ({ upTo: le === "+Inf" ? Infinity : Number(le), count: grown(now, before, `${name}_bucket`, { ...labels, le }) }))
    .sort((one, other) => one.upTo - other.upTo);
  const all = buckets.length === 0 ? 0 : buckets[buckets.length - 1].count;
  if (all === 0) return null;
  const rank = q * all;
  let [from, counted] = [0, 0];
  for (const { upTo, count } of buckets) {
    if (count >= rank) {
      if (upTo === Infinity) return from;
      return from + ((upTo - from) * (rank - counted)) / Math.max(count - counted, 1);
    }
    [from, counted] = [upTo, count];
  }
  return from;
}
