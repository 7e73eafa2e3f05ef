// Lines over time with uPlot. Time is empty between sessions, so the n-th moment stands n-th and the axis says when it was.
const drawn = new Set();
const colour = name => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
const two = n => String(n).padStart(2, "0");
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const day = s => { const d = new Date(s * 1e3); return `${two(d.getUTCDate())} ${MONTHS[d.getUTCMonth()]}`; };
const clock = s => { const d = new Date(s * 1e3); return `${two(d.getUTCHours())}:${two(d.getUTCMinutes())}`; };

// values: {t: [s], l: [[words, css, [SOL]]], f: fill below zero}.
function drawLines(host, values) {
  const soft = colour("soft"), grid = {stroke: colour("line"), width: 1}, font = "11px system-ui, sans-serif";
  const says = (self, v) => known(v) ? (v > 0 ? "+" : "") + minus(v.toFixed(3)) : "–";
  const when = place => { const s = values.t[Math.round(place)]; return s === undefined ? "" : s; };
  const series = values.l.map(([words, css]) => ({
    label: words, stroke: colour(css), width: css === "copy" ? 2.2 : 1.6, dash: ["seed", "everybody", "expected"].includes(css) ? [5, 4] : undefined,
    fill: values.f && css === "copy" ? colour("fill") : undefined, value: says, spanGaps: false, paths: uPlot.paths.stepped({align: 1}), points: {show: values.t.length < 2},
  }));
  const options = {
    width: host.clientWidth, height: host.clientHeight, padding: [8, 38, 0, 0], cursor: {y: false, points: {size: 6}}, legend: {live: true},
    hooks: {setLegend: [self => { if (!known(self.legend.idx)) self.setLegend({idx: values.t.length - 1}, false); }]},
    scales: {x: {time: false}, y: {range: (self, low, high) => { const a = Math.min(0, low ?? 0), b = Math.max(0, high ?? 0), pad = (b - a || 1) * 0.06; return [a < 0 ? a - pad : a, b > 0 ? b + pad : b || pad]; }}},
    axes: [
      {stroke: soft, grid: {show: false}, ticks: {show: false}, font, space: 92, size: 28, values: (self, places) => places.map(p => Number.isInteger(p) && when(p) !== "" ? `${day(when(p))} ${clock(when(p))}` : "")},
      {stroke: soft, grid, ticks: {show: false}, font, size: 52, values: (self, v) => v.map(one => minus(+one.toFixed(4)))},
    ],
    series: [{label: "UTC", value: (self, p) => known(p) && when(p) !== "" ? `${day(when(p))} ${clock(when(p))}` : "–"}, ...series],
  };
  host.textContent = "";
  const plot = new uPlot(options, [values.t.map((_, i) => i), ...values.l.map(l => l[2])], host);
  const fit = () => plot.setSize({width: host.clientWidth, height: Math.max(90, Math.round(host.dataset.tall - host.querySelector(".u-legend").offsetHeight))});
  host.style.height = "auto"; fit(); plot.setLegend({idx: values.t.length - 1}, false);
  host.redraw = () => { plot.destroy(); host.style.height = host.dataset.tall + "px"; drawLines(host, values); };
  host.fit = () => { if (host.clientWidth && host.clientWidth !== plot.width) fit(); };
  drawn.add(host);
}

// The wallet at our stake and its copies as values for drawLines.
function personLines(person) {
  const lines = [pointsOf(person.y), pointsOf(person.w)], times = [...new Set(lines.flat().map(p => p[0]))].sort((a, b) => a - b);
  const at = points => { let i = 0, last = null; return times.map(t => { while (i < points.length && points[i][0] <= t) last = points[i++][1] / 1e6; return last; }); };
  const named = [["if I had followed", "copy", lines[0]], ["wallet, at the same stake", "wallet", lines[1]]].filter(l => l[2].length);
  return {t: times, f: 0, l: named.map(([words, css, points]) => [words, css, at(points)])};
}

function showLines(within, values) {
  for (const host of within.querySelectorAll("[data-lines]")) {
    const found = values(host.dataset.lines);
    host.dataset.tall = host.clientHeight;
    if (found && found.l.length && host.clientWidth) drawLines(host, found);
  }
}
