// A plot over time by uPlot, with a legend of its own. What it shows also stands in a table or as figures
// beside it, for who does not see it.
import { h } from "./dom.js";
import { language } from "./words.js";

/** Points that a plot keeps: five minutes of one reading a second. */
const POINTS_MAX = 300;

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** A plot of `series`, each `{label, colour}` with the colour's name in the style sheet. */
export class Plot {
  constructor(title, series, format) {
    this.series = series;
    this.format = format;
    this.data = [[], ...series.map(() => [])];
    this.area = h("div", { class: "plot", "aria-hidden": "true" });
    const keys = series.map((it) => {
      const swatch = h("span", { class: "swatch" });
      swatch.style.background = `var(${it.colour})`;
      return h("li", {}, swatch, it.label);
    });
    this.element = h("figure", {}, h("figcaption", {}, title, h("ul", { class: "keys" }, keys)), this.area);
    this.scheme = matchMedia("(prefers-color-scheme: dark)");
    this.redraw = () => this.draw();
    this.scheme.addEventListener("change", this.redraw);
    this.resized = new ResizeObserver(() => {
      const width = this.area.clientWidth;
      if (this.drawn && width > 0 && width !== this.drawn.width) this.drawn.setSize({ width, height: 180 });
    });
    this.resized.observe(this.area);
  }

  /** Adds a reading: seconds since the epoch, and a value or null for each series. */
  add(at, values) {
    [at, ...values].forEach((value, place) => {
      this.data[place].push(value);
      if (this.data[place].length > POINTS_MAX) this.data[place].shift();
    });
    if (this.drawn) this.drawn.setData(this.data);
    else this.draw();
  }

  draw() {
    if (!this.area.isConnected || this.data[0].length === 0) return;
    this.drawn?.destroy();
    const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line") } };
    const clock = new Intl.DateTimeFormat(language(), { hour: "2-digit", minute: "2-digit", second: "2-digit" });
    this.drawn = new window.uPlot({
      width: Math.max(this.area.clientWidth, 120),
      height: 180,
      legend: { show: false },
      cursor: { show: false },
      scales: { y: { range: (_, __, most) => [0, most > 0 ? most * 1.1 : 1] } },
      axes: [
        { ...axis, space: 90, values: (_, ticks) => ticks.map((at) => clock.format(new Date(at * 1000))) },
        { ...axis, size: 64, values: (_, ticks) => ticks.map((it) => this.format(it)) },
      ],
      series: [{}, ...this.series.map((it) => ({ stroke: colour(it.colour), width: 2, points: { show: false } }))],
    }, this.data, this.area);
  }

  stop() {
    this.scheme.removeEventListener("change", this.redraw);
    this.resized.disconnect();
    this.drawn?.destroy();
  }
}
