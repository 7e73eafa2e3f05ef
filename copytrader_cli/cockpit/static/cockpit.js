// The page's own script: takes the server's events, lets clocks count, draws the line, opens dialogs. No state of its own.
"use strict";
const byId = (id) => document.getElementById(id);
const pulse = byId("pulse");
let ahead = 0;      // the server's clock minus ours, in ms
let heardAt = 0;    // when the last event came, by performance.now()
let plot = null;

// --- time: written as `ago` in words.py writes it
const UNITS = [[86400, "d", 3600, "h"], [3600, "h", 60, "min"], [60, "min", 1, "s"]];
function span(seconds) {
  if (seconds < 10) return seconds.toFixed(1) + " s";
  const whole = Math.floor(seconds);
  for (const [size, unit, less, part] of UNITS) {
    if (whole < size) continue;
    const rest = Math.floor((whole % size) / less);
    return Math.floor(whole / size) + " " + unit + (rest ? " " + rest + " " + part : "");
  }
  return whole + " s";
}
function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
function count() {
  const now = Date.now() + ahead;
  for (const element of document.querySelectorAll("[data-since]")) {
    put(element, span(Math.max(0, now - element.dataset.since) / 1000) + (element.dataset.after || ""));
  }
  for (const element of document.querySelectorAll("[data-until]")) {
    const left = (element.dataset.until - now) / 1000;
    put(element, left >= 0 ? "in " + span(left) : span(-left) + " over");
    element.classList.toggle("down", left < 0);
    element.classList.toggle("soon", left >= 0 && left < 5);
  }
}
function beat() {
  const silent = (performance.now() - heardAt) / 1000;
  const stale = heardAt === 0 || silent > 6;
  put(pulse, heardAt === 0 ? "connecting" : stale ? "no word from the cockpit: this page stands still" : "live");
  document.body.classList.toggle("stale", stale && heardAt !== 0);
  pulse.classList.toggle("on", !stale);
  if (!stale) count();
}

// --- the line of today's result
function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
function hours(splits) {
  const fine = splits.length > 1 && splits[1] - splits[0] < 60;
  return splits.map((seconds) => new Date(seconds * 1000).toISOString().slice(11, fine ? 19 : 16));
}
function draw(line) {
  byId("pnl").dataset.line = JSON.stringify(line);
  put(byId("pnl-says"), line.says);
  if (plot) { plot.destroy(); plot = null; }
  const room = byId("plot");
  room.hidden = line.xs.length === 0;
  if (room.hidden) return;
  const first = line.xs[0], midnight = first - (first % 86400), last = line.xs[line.xs.length - 1];
  // The day begins at nothing, and a line of one point would not be seen.
  const before = Math.max(midnight, first - Math.max(60, (last - first) * 0.04));
  const xs = [before, ...line.xs], ys = [0, ...line.ys];
  const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui" };
  plot = new uPlot({
    width: room.clientWidth, height: 190, tzDate: (ts) => uPlot.tzDate(new Date(ts * 1000), "Etc/UTC"),
    legend: { show: false }, cursor: { y: false, points: { size: 7 } },
    scales: { y: { range: (u, low, high) => { const room = Math.max((high - low) * 0.1, 0.001); return [Math.min(0, low) - room, Math.max(0, high) + room]; } } },
    series: [{}, { stroke: colour("--main"), width: 2, fill: colour("--fill"), paths: uPlot.paths.stepped({ align: 1 }), points: { show: xs.length < 25, size: 5, fill: colour("--main") } }],
    axes: [{ ...axis, space: 70, values: (u, splits) => hours(splits) }, { ...axis, size: 58, values: (u, splits) => splits.map((y) => (y > 0 ? "+" : "") + +y.toFixed(4)) }],
  }, [xs, ys], room);
}
function redraw() {
  draw(JSON.parse(byId("pnl").dataset.line));
}

// --- the server's events
function show(name, html) {
  const panel = document.querySelector('[data-panel="' + name + '"]');
  if (panel && panel.innerHTML !== html) panel.innerHTML = html;
}
function listen() {
  const source = new EventSource("/events");
  for (const panel of document.querySelectorAll("[data-panel]")) {
    const name = panel.dataset.panel;
    source.addEventListener(name, (event) => { show(name, JSON.parse(event.data)); count(); });
  }
  source.addEventListener("pnl", (event) => {
    if (event.data !== byId("pnl").dataset.line) draw(JSON.parse(event.data));
  });
  source.addEventListener("tick", (event) => {
    ahead = Number(event.data) - Date.now();
    heardAt = performance.now();
    beat();
  });
  source.onerror = () => {
    // The browser tries again by itself unless it was refused: then the session is over, or the page is one too many.
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, 5000);
  };
}

// --- dialogs
document.addEventListener("click", (event) => {
  const opens = event.target.closest("[data-opens]");
  if (opens) byId("ask-" + opens.dataset.opens).showModal();
  if (event.target.closest("[data-closes]")) event.target.closest("dialog").close();
});
document.addEventListener("submit", (event) => {
  const dialog = event.target.closest("dialog");
  if (dialog) dialog.close();
});

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
let resizing = 0;
addEventListener("resize", () => { clearTimeout(resizing); resizing = setTimeout(redraw, 150); });
redraw();
listen();
setInterval(beat, 250);
