// The ranking and the fingerprint of each wallet. A wallet: a address, n name, k weight, p [trades, days, win rate, entry
// SOL, hold ms], st exit style, sc its share, pnl SOL, sl scores, hs and ms survival by age and multiple, mu mu multiples,
// sz [bin, sizes], hr hours, f its followers (fn of them), b whom it follows, w its line at our stake, y its copies' line,
// e exit rules; v its copy value: x [value, low, high], v verdict, r reason, t tier, n [signals, landed, coin-days],
// l landed, raw [mean, median], q and pp, c [capacity, low, high] SOL, b break-even slots, u rule, d by slots late, g grid.
const STYLE = {COPY: "good", UNPROVEN: "open", UNCOPYABLE: "bad"};
const chip = (words, css) => words ? `<span class="chip ${esc(css)}">${esc(words.replaceAll("_", " ").toLowerCase())}</span>` : "";
const capacity = (v, facts) => known(v.c[0]) ? v.c[0] > 0 ? (v.c[0] >= facts.sizes[facts.sizes.length - 1] ? "≥ " : "") + +v.c[0].toFixed(2) + " SOL" : "none" : "–";

// The scale of all intervals: the middle nine tenths of their ends, zero among them.
function scaleOf(people) {
  const ends = people.filter(p => p.v).flatMap(p => [p.v.x[1], p.v.x[2]]).filter(known).sort((a, b) => a - b);
  const at = share => ends[Math.round(share * (ends.length - 1))] ?? 0;
  return [Math.min(-20, at(0.03)), Math.max(20, at(0.97))];
}

function rankRow(person, place, scale, facts) {
  const v = person.v, css = v ? STYLE[v.v] : "none";
  const value = v ? `<b>${signedPct(v.x[0])}</b>` : `<b>–</b>`;
  return `<a class="row" href="#wallet=${encodeURIComponent(person.a)}" style="--k:${person.k}">` +
    `<span class="no">${place}</span><span class="who"><b>${esc(person.n)}</b><small title="${esc(v ? v.r : "")}">${esc(v ? v.r : "not replayed yet")}</small></span>` +
    `<span class="tags">${v ? chip(v.v, css) + (v.v === "COPY" ? chip(v.t, "tier") : "") : chip("no value", "none")}</span>` +
    `<span class="val fade">${value}<small>${v ? `${v.n[1]} of ${v.n[0]} landed` : `${person.p[0]} trips`}</small></span>` +
    `<span class="iv fade">${v ? interval(v.x, scale, css) : ""}</span>` +
    `<span class="dc fade" data-l="by delay">${v ? decay(v, facts.latencies, true) : "–"}</span>` +
    `<span class="ln fade" data-l="wallet, followed">${sparkLines(person.w, person.y)}</span>` +
    `<span class="cap fade" data-l="capacity, SOL">${v ? capacity(v, facts).replace(" SOL", "") : "–"}</span>` +
    `<span class="sty fade" data-l="hold, exit"><span>${duration(person.p[4])}</span>${chip(person.st, person.st)}</span></a>`;
}

const FIRST = 60;
function ranking(people, facts) {
  const scale = scaleOf(people), ends = `<i>${pct(scale[0], 0)}</i><i>${pct(scale[1], 0)}</i>`;
  const rows = people.map((p, i) => rankRow(p, i + 1, scale, facts)), rest = rows.slice(FIRST);
  return `<div class="row heads" aria-hidden="true"><span class="no"></span><span class="who">leader, and why</span><span class="tags">verdict</span><span class="val">value of a copy</span><span class="iv">${ends}</span><span class="dc">by delay</span><span class="ln">wallet, followed</span><span class="cap">capacity, SOL</span><span class="sty">hold, exit</span></div>` +
    rows.slice(0, FIRST).join("") + (rest.length ? `<details class="rest"><summary>${rest.length} more leaders</summary>${rest.join("")}</details>` : "");
}

// All leaders' values over slots late in one plot, coloured by verdict.
function decays(people, facts) {
  const w = innerWidth < 760 ? 350 : 620, h = 250, [left, right, top, bottom] = [44, 108, 10, 34], with_ = people.filter(p => p.v && p.v.d[0].some(known));
  if (!with_.length) return "";
  const all = with_.flatMap(p => p.v.d[0]).filter(known).sort((a, b) => a - b), low = Math.min(-10, all[Math.floor(all.length * 0.02)]), high = Math.max(10, all[Math.ceil(all.length * 0.98) - 1]);
  const slots = facts.latencies.map(s => Math.max(s, 0.5)), x = logarithmic(slots[0], slots[slots.length - 1], left, w - right), y = v => linear(low, high, h - bottom, top)(clamp(v, low, high)), parts = [];
  for (const v of rounds(low, high, 5)) parts.push(line(left, y(v), w - right, y(v), "grid"), word(left - 6, y(v) + 3.5, pct(v, 0), "tick", "end"));
  facts.latencies.forEach((s, i) => parts.push(word(x(slots[i]), h - bottom + 16, s, "tick", "middle")));
  parts.push(word((left + w - right) / 2, h - 4, "slots late", "tick", "middle"), line(left, y(0), w - right, y(0), "axis"));
  // Many lines are drawn fainter, so that their crowd shows as a shade.
  const ends = [], crowd = clamp(40 / with_.length, 0.18, 1);
  for (const p of [...with_].reverse()) {
    const points = p.v.d[0].map((v, i) => [x(slots[i]), v]).filter(q => known(q[1])).map(([a, v]) => [a, y(v)]);
    parts.push(`<g opacity="${(p.k * crowd).toFixed(2)}"><title>${esc(p.n)}</title>${path(points, "l-" + STYLE[p.v.v])}</g>`);
    ends.push([points[points.length - 1], p]);
  }
  // Names of the best first, where there is room.
  const taken = [];
  for (const [[a, b], p] of ends.reverse()) if (taken.length < 12 && taken.every(other => Math.abs(other - b) >= 12)) { parts.push(word(a + 6, b + 4, shortened(p.n, 16), "name")); taken.push(b); }
  return svg(w, h, "value of a copy by slots late, every leader", parts);
}

// Largest size that still pays, with its interval.
function capacities(people, facts) {
  const rows = people.filter(p => p.v && known(p.v.c[0]) && (p.v.c[0] > 0 || p.v.c[2] > 0)).slice(0, 12), most = facts.sizes[facts.sizes.length - 1];
  if (!rows.length) return `<p class="empty">No leader's copies have a value above zero at any size that was replayed.</p>`;
  const w = 440, high = 26, h = rows.length * high + 24, x = v => linear(0, most, 130, 366)(clamp(v, 0, most)), parts = [];
  for (const t of rounds(0, most, 4)) parts.push(line(x(t), 2, x(t), h - 20, "grid"), word(x(t), h - 6, t, "tick", "middle"));
  rows.forEach((p, i) => {
    const y = i * high + 13, [mid, low, up] = p.v.c;
    parts.push(`<g opacity="${p.k}">`, word(120, y + 4, shortened(p.n, 18), "name", "end"));
    if (known(low) && known(up)) parts.push(line(x(low), y, x(up), y, "band " + STYLE[p.v.v]));
    parts.push(line(x(0), y, x(mid), y, "stem " + STYLE[p.v.v]), dot(x(mid), y, 4.5, STYLE[p.v.v], `${mid} SOL, between ${low} and ${up}`), word(374, y + 4, (mid >= most ? "≥ " : "") + mid.toFixed(2), "value"), "</g>");
  });
  return svg(w, h, "capacity by leader in SOL", parts);
}

const HOLDS = [100, 500, 1e3, 3e3, 1e4, 3e4, 6e4, 12e4, 3e5, 9e5, 36e5, 216e5, 864e5, 2592e5], TIMES = [100, 200, 500, 700, 1000, 1500, 2000, 5000, 10000];
const card = (title, plot, from = "") => `<div class="card"><h3>${title}</h3>${plot}${from && `<p class="more">${from}</p>`}</div>`;
const tile = (words, value, note) => `<div class="tile"><span>${words}</span><b>${value}</b><small>${note}</small></div>`;

function tilesOf(person, facts) {
  const v = person.v, p = person.p, tiles = [];
  if (v) tiles.push(
    tile("value of a copy", signedPct(v.x[0]), `90 % within ${signedPct(v.x[1])} to ${signedPct(v.x[2])}`), tile("raw mean, median", signedPct(v.raw[0]), `median ${signedPct(v.raw[1])}, before correction`),
    tile("landed", known(v.l) ? pct(v.l, 0) : "–", `${v.n[1]} of ${v.n[0]} copies, ${v.n[2]} coin-days`), tile("capacity", capacity(v, facts), known(v.c[1]) ? `between ${v.c[1]} and ${v.c[2]} SOL` : "interval not known"),
    tile("break-even delay", known(v.b) ? v.b + " slots" : "–", `edge above zero: ${pct(v.pp, 0)}, q ${known(v.q) ? v.q : "–"}`));
  tiles.push(tile("wallet's own PnL", known(person.pnl) ? (person.pnl > 0 ? "+" : "") + minus(person.pnl.toFixed(2)) : "–", `SOL; ${p[0]} trips on ${p[1]} days, ${pct(p[2], 0)} won`));
  return `<div class="tiles gap">${tiles.join("")}</div>`;
}

function fingerprint(person, facts, previous, next) {
  const v = person.v, size = person.sz[0], link = (p, words) => p ? `<a href="#wallet=${encodeURIComponent(p.a)}">${words}</a>` : `<span class="off">${words}</span>`;
  const multiples = (person.mu || []).length ? person.mu : [], edges = multiples.length;
  const plots = [
    v ? card("Value over delay", decay(v, facts.latencies, false), `At ${facts.size} SOL; band: 90 %. From copy_value.`) : "",
    v ? card("Value by delay and size", heat(v.g, facts.latencies, facts.sizes), "Posterior mean, landed or not. From copy_value.") : "",
    card("Still held, by age", stairs(person.hs || [], duration, HOLDS, "share of positions still held by age", known(person.p[4]) ? [person.p[4], "p50 " + duration(person.p[4])] : null), "Kaplan-Meier, open positions censored. From exit_curves."),
    person.ms ? card("Not yet sold, by multiple", stairs(person.ms, t => t / 1000 + "×", TIMES, "share of positions sold above a multiple", [1000, "1×"]), "Kaplan-Meier, open positions censored. From exit_curves.") : "",
    card("Multiples of finished trips", columns(multiples, i => i < edges / 2 ? "loss" : "win", [[0, "0.1×"], [edges / 2, "1×"], [edges, "10×"]], (i, n) => `${n} trips`, "how often each multiple was reached"), "Proceeds over cost, 30 days. From trades."),
    card("Entry sizes", columns(person.sz ? person.sz.slice(1) : [], () => "wallet", person.sz ? [[0, "0"], [person.sz.length - 1, `${+(size * (person.sz.length - 1)).toPrecision(3)} SOL`]] : [], (i, n) => `${+(i * size).toPrecision(3)} to ${+((i + 1) * size).toPrecision(3)} SOL: ${n}`, "entry sizes in SOL"), "The last column holds all larger ones. From trades."),
    card("Sessions: entries by hour, UTC", columns(person.hr || [], () => "wallet", [0, 6, 12, 18, 24].map(t => [t, two(t)]), (i, n) => `${two(i)}:00: ${n}`, "entries by hour of the day"), "From trades, 30 days."),
    card(`Who follows it (${person.fn || 0})`, person.f ? followers(person.f) : `<p class="more">No validated follower.</p>`, person.f ? "Dot: median lag, line to the 90th percentile; share of its buys followed within 30 s. From follow_edges." : ""),
    person.b ? card("Whom it follows", followers(person.b), "From follow_edges.") : "",
  ];
  return `<p class="crumbs"><a href="#leaders">← all leaders</a><span>${link(previous, "← better")} ${link(next, "next →")}</span></p>` +
    `<h2 tabindex="-1">${esc(person.n)} ${v ? chip(v.v, STYLE[v.v]) + chip(v.t, "tier") : ""} ${chip(person.st, person.st)}</h2><p class="lead"><code>${esc(person.a)}</code> ${v ? esc(v.r) + "." : "Its buys have not been replayed yet."}</p>${tilesOf(person, facts)}<div class="fade" style="--k:${person.k}">` +
    `<div class="even"><div class="card"><h3>Wallet against followed, SOL</h3><div class="lines" data-lines="person" style="height:270px" role="img" aria-label="the wallet's result at our stake and that of its copies"></div><p class="more">${person.y ? `Copies of ${facts.size} SOL, ${facts.latency} slots late, every cost in; the wallet's trips as if each had cost as much. From copies and trades.` : "Copies are not known: its buys have not been replayed. From trades."}</p></div>` +
    card("Exit rules for its copies", person.e ? rules(person.e) : `<p class="more">Not known: no copy of it has landed in a replay.</p>`, person.e ? `✓ chosen. Dot and line: return of a copy, 90 %; over seed: paired difference, 90 %. From leader_exits.` : "") + `</div><div class="grid prints">${plots.join("")}</div></div>`;
}
