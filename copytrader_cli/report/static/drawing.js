// Small plots as SVG text. Shares come per mille, money in micro-SOL. Every word that is not ours goes through esc().
const esc = text => String(text).replace(/[&<>"']/g, c => ({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;"})[c]);
const minus = text => String(text).replace("-", "−");
const known = value => value !== null && value !== undefined;
const pct = (mille, digits = 1) => known(mille) ? minus((mille / 10).toFixed(Math.abs(mille) >= 1000 ? 0 : digits)) + " %" : "–";
const signedPct = (mille, digits) => known(mille) && mille > 0 ? "+" + pct(mille, digits) : pct(mille, digits);
const sol = (micro, digits = 2) => known(micro) ? (micro > 0 ? "+" : "") + minus((micro / 1e6).toFixed(digits)) : "–";
const shortened = (name, most) => { const signs = [...name]; return signs.length > most ? signs.slice(0, most - 1).join("") + "…" : name; };
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const duration = ms => {
  if (!known(ms)) return "–";
  for (const [size, unit] of [[864e5, "d"], [36e5, "h"], [6e4, "min"], [1e3, "s"]])
    if (ms >= size * 0.9995) { const v = ms / size; return (v >= 9.95 || Math.abs(v - Math.round(v)) < 0.05 ? v.toFixed(0) : v.toFixed(1)) + " " + unit; }
  return ms.toFixed(0) + " ms";
};
const linear = (low, high, start, end) => v => start + (v - low) / ((high - low) || 1) * (end - start);
const logarithmic = (low, high, start, end) => { const f = linear(Math.log(low), Math.log(high), start, end); return v => f(Math.log(clamp(v, low, high))); };
const px = value => value.toFixed(1);
const svg = (w, h, label, parts, css = "") =>
  `<svg viewBox="0 0 ${w} ${h}" role="img" aria-label="${esc(label)}"${css && ` class="${css}"`}${css ? "" : ` style="max-width:${w * 1.3}px"`}>${parts.join("")}</svg>`;
const line = (x0, y0, x1, y1, css) => `<line x1="${px(x0)}" y1="${px(y0)}" x2="${px(x1)}" y2="${px(y1)}" class="${css}"/>`;
const word = (x, y, words, css = "tick", anchor = "start") => `<text x="${px(x)}" y="${px(y)}" class="${css}" text-anchor="${anchor}">${esc(words)}</text>`;
const rect = (x, y, w, h, css, title) => `<rect x="${px(x)}" y="${px(y)}" width="${px(Math.max(w, 0.5))}" height="${px(h)}" class="${css}">${title ? `<title>${esc(title)}</title>` : ""}</rect>`;
const dot = (x, y, r, css, title) => `<circle cx="${px(x)}" cy="${px(y)}" r="${r}" class="${css}">${title ? `<title>${esc(title)}</title>` : ""}</circle>`;
const path = (points, css) => points.length ? `<path d="M${points.map(([x, y]) => px(x) + " " + px(y)).join(" ")}" class="${css}"/>` : "";

// Round values between low and high, about `count` of them.
function rounds(low, high, count) {
  const raw = (high - low || 1) / count, unit = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map(f => f * unit).find(s => s >= raw * 0.999);
  const found = [];
  for (let n = Math.ceil(low / step - 1e-9); n <= high / step + 1e-9; n++) found.push(+(n * step).toPrecision(12));
  return found;
}

// [seconds, micro-SOL, ...] with differences of seconds, as points.
function pointsOf(flat) {
  const found = []; let at = 0;
  for (let i = 0; i < (flat || []).length; i += 2) found.push([at += flat[i], flat[i + 1]]);
  return found;
}

// Points on their places: the n-th moment of both lines stands n-th, since time is empty between sessions.
function onOneClock(lines) {
  const times = [...new Set(lines.flat().map(p => p[0]))].sort((a, b) => a - b), place = new Map(times.map((t, i) => [t, i + 1]));
  return {times, lines: lines.map(points => points.length ? [[0, 0], ...points.map(([t, v]) => [place.get(t), v]), [times.length, points[points.length - 1][1]]] : [])};
}

// The wallet at our stake and its copies, the size of a word.
function sparkLines(wallet, copy) {
  const {times, lines} = onOneClock([pointsOf(wallet), pointsOf(copy)]), values = lines.flat().map(p => p[1]);
  if (!values.length) return "–";
  const x = linear(0, times.length, 2, 108), y = linear(Math.min(0, ...values), Math.max(0, ...values), 31, 3);
  const ends = lines.map(points => points.length ? sol(points[points.length - 1][1]) : "not known");
  const label = `wallet ${ends[0]} SOL, if I had followed ${ends[1]} SOL`;
  const drawn = lines.map((points, i) => path(points.map(([a, b]) => [x(a), y(b)]), i ? "l-copy" : "l-wallet"));
  return svg(110, 34, label, [`<title>${esc(label)}</title>`, line(2, y(0), 108, y(0), "track"), ...drawn], "spark");
}

// Value with its interval on a scale that all rows share.
function interval([middle, low, high], [from, to], verdict) {
  const x = v => linear(from, to, 4, 196)(clamp(v, from, to)), parts = [line(4, 13, 196, 13, "track"), line(x(0), 3, x(0), 23, "axis")];
  if (known(low) && known(high)) parts.push(line(x(low), 13, x(high), 13, "band " + verdict));
  if (known(middle)) parts.push(dot(x(middle), 13, 4.5, verdict, `${signedPct(middle)}, 90 % within ${signedPct(low)} to ${signedPct(high)}`));
  return svg(200, 26, `value ${signedPct(middle)}, 90 % within ${signedPct(low)} to ${signedPct(high)}`, parts, "forest");
}

// Value over slots late, with the interval as a band.
function decay(value, latencies, small) {
  const [w, h] = small ? [110, 34] : [340, 180], [left, right, top, bottom] = small ? [2, 2, 3, 3] : [46, 12, 10, 32];
  const [mid, low, high] = value.d, all = value.d.flat().filter(known);
  if (!all.length) return "–";
  const x = logarithmic(Math.max(latencies[0], 0.5), Math.max(latencies[latencies.length - 1], 1), left, w - right);
  const y = linear(Math.min(0, ...all), Math.max(0, ...all), h - bottom, top), parts = [];
  const at = values => values.map((v, i) => [x(Math.max(latencies[i], 0.5)), v]).filter(p => known(p[1])).map(([a, v]) => [a, y(v)]);
  if (!small) for (const v of rounds(Math.min(0, ...all), Math.max(0, ...all), 4)) parts.push(line(left, y(v), w - right, y(v), "grid"), word(left - 5, y(v) + 3.5, pct(v, 0), "tick", "end"));
  parts.push(path([...at(high), ...at(low).reverse()], "a-copy"), line(left, y(0), w - right, y(0), "axis"), path(at(mid), "l-copy"));
  if (!small) {
    at(mid).forEach(([a, b], i) => parts.push(dot(a, b, 3, "copy", `${latencies[i]} slots late: ${signedPct(mid[i])}`)));
    latencies.forEach(slots => parts.push(word(x(Math.max(slots, 0.5)), h - bottom + 15, slots, "tick", "middle")));
    parts.push(word((left + w - right) / 2, h - 4, "slots late", "tick", "middle"));
  }
  return svg(w, h, "value of a copy by slots late: " + mid.map((v, i) => `${latencies[i]}: ${pct(v)}`).join(", "), parts, small ? "spark" : "");
}

// Value by slots late (rows) and size (columns) as colours with their numbers.
function heat(grid, latencies, sizes) {
  const w = 340, left = 46, high = 28, h = high * latencies.length + 36, width = (w - left) / sizes.length, parts = [];
  const most = Math.max(1, ...grid.filter(known).map(Math.abs));
  latencies.forEach((slots, r) => {
    parts.push(word(left - 8, r * high + 18, slots, "tick", "end"));
    sizes.forEach((size, c) => {
      const v = grid[r * sizes.length + c], x = left + c * width;
      const title = `${slots} slots late, ${size} SOL: ${known(v) ? signedPct(v) : "not known"}`;
      parts.push(`<rect x="${px(x + 1)}" y="${r * high + 1}" width="${px(width - 2)}" height="${high - 2}" rx="3" class="${known(v) ? v > 0 ? "win" : "loss" : "none"}" fill-opacity="${known(v) ? (0.08 + 0.5 * Math.abs(v) / most).toFixed(2) : 0}"><title>${esc(title)}</title></rect>`);
      parts.push(word(x + width / 2, r * high + 18, known(v) ? minus((v / 10).toFixed(Math.abs(v) < 100 ? 1 : 0)) : "–", "value", "middle"));
    });
  });
  sizes.forEach((size, c) => parts.push(word(left + (c + 0.5) * width, h - 20, size, "tick", "middle")));
  parts.push(word(left + (w - left) / 2, h - 5, "size in SOL; rows: slots late; value in %", "tick", "middle"));
  return svg(w, h, "value of a copy by slots late and size", parts);
}

// Kaplan-Meier: [at, per mille left, ...] as stairs on a logarithmic axis; `mark` is [at, words].
function stairs(flat, write, ticks, label, mark) {
  const w = 340, h = 170, [left, right, top, bottom] = [40, 12, 10, 22], at = flat.filter((_, i) => i % 2 === 0).filter(v => v > 0);
  if (!at.length) return `<p class="more">Not known: no finished trip.</p>`;
  const low = Math.min(...at) * 0.6, high = Math.max(...at) * 1.4, x = logarithmic(low, high, left, w - right), y = linear(0, 1000, h - bottom, top);
  const points = [[left, y(1000)]]; let share = 1000;
  for (let i = 0; i < flat.length; i += 2) { points.push([x(flat[i]), y(share)], [x(flat[i]), y(share = flat[i + 1])]); }
  points.push([w - right, y(share)]);
  const parts = [0, 500, 1000].flatMap(v => [line(left, y(v), w - right, y(v), "grid"), word(left - 5, y(v) + 3.5, pct(v, 0), "tick", "end")]);
  parts.push(path([[left, y(0)], ...points, [w - right, y(0)]], "a-wallet"), path(points, "l-wallet"));
  if (mark && mark[0] > low && mark[0] < high) parts.push(line(x(mark[0]), y(0), x(mark[0]), y(1000), "mark"), word(x(mark[0]) + (x(mark[0]) > 230 ? -5 : 5), top + 9, mark[1], "value", x(mark[0]) > 230 ? "end" : "start"));
  let free = 0;
  for (const t of ticks) if (t > low && t < high && x(t) - 16 > free) { parts.push(word(x(t), h - 6, write(t), "tick", "middle")); free = x(t) + 18; }
  return svg(w, h, label, parts);
}

// Columns: counts, css of the n-th, ticks [[place between 0 and counts.length, words]].
function columns(counts, css, ticks, title, label) {
  const w = 340, h = 170, [left, right, top, bottom] = [40, 12, 10, 22], most = Math.max(1, ...counts);
  if (!counts.length) return `<p class="more">Not known: no finished trip.</p>`;
  const x = linear(0, counts.length, left, w - right), y = linear(0, most, h - bottom, top);
  const parts = [0, most].flatMap(v => [line(left, y(v), w - right, y(v), "grid"), word(left - 5, y(v) + 3.5, v, "tick", "end")]);
  counts.forEach((n, i) => { if (n) parts.push(rect(x(i) + 0.7, y(n), x(i + 1) - x(i) - 1.4, y(0) - y(n), css(i), title(i, n))); });
  for (const [place, words] of ticks) parts.push(word(x(place), h - 6, words, "tick", "middle"));
  return svg(w, h, label, parts);
}

// Rules with their return and interval; above each how far it lies over the seed's, copy by copy.
function rules(rows) {
  const w = 470, high = 42, h = rows.length * high + 24, values = rows.flatMap(r => [r[2], r[3], r[4]]).filter(known);
  const from = Math.min(0, ...values), to = Math.max(0, ...values), x = linear(from, to, 10, w - 10), parts = [];
  for (const v of rounds(from, to, 5)) parts.push(line(x(v), 4, x(v), h - 20, "grid"), word(x(v), h - 6, pct(v, 0), "tick", "middle"));
  parts.push(line(x(0), 4, x(0), h - 20, "axis"));
  rows.forEach(([rule, n, mean, low, up, over, overLow, overUp, chosen], i) => {
    const y = i * high + 28, css = chosen ? "copy" : rule === "seed" ? "seed" : "quiet";
    const paired = rule === "seed" ? "the seed's exit" : known(over) ? `over seed ${signedPct(over)} (${signedPct(overLow)} to ${signedPct(overUp)})` : "over seed: not known";
    parts.push(word(6, y - 12, (chosen ? "✓ " : "") + rule, chosen ? "name strong halo" : "name halo"), word(w - 6, y - 12, paired, "tick halo", "end"));
    if (known(low) && known(up)) parts.push(line(x(low), y, x(up), y, "band " + css));
    if (known(mean)) parts.push(dot(x(mean), y, 4.5, css, `${rule}: ${signedPct(mean)}, 90 % within ${signedPct(low)} to ${signedPct(up)}, ${n} copies`));
  });
  return svg(w, h, "return of copies by exit rule", parts);
}

// Followers: [name, per mille within 30 s, p50 ms, p90 ms, followed].
function followers(rows) {
  const w = 340, high = 24, h = rows.length * high + 24, most = Math.max(1000, ...rows.map(r => r[3])), x = linear(0, most, 110, 290), parts = [];
  for (const t of rounds(0, most, 3)) parts.push(line(x(t), 2, x(t), h - 20, "grid"), word(x(t), h - 6, t ? duration(t) : "0", "tick", "middle"));
  rows.forEach(([name, share, p50, p90, n], i) => {
    const y = i * high + 12;
    parts.push(`<g opacity="${Math.min(1, 0.35 + n / 20).toFixed(2)}">`, word(102, y + 4, shortened(name, 16), "name", "end"), line(x(p50), y, x(p90), y, "band"), dot(x(p50), y, 4, "copy", `${name}: half within ${duration(p50)}, nine in ten within ${duration(p90)}`), word(298, y + 4, pct(share, 0), "value"), "</g>");
  });
  return svg(w, h, "reaction times", parts);
}
