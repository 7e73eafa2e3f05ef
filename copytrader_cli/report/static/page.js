// Puts everything in its place and follows the address: #wallet=ADDRESS is a wallet's page, all else a place on the first one.
const facts = JSON.parse(document.getElementById("facts").textContent), root = document.documentElement;
const overview = document.getElementById("overview"), wallet = document.getElementById("wallet");
const place = new Map(facts.people.map((person, i) => [person.a, i]));

function put(id, html) { const host = document.getElementById(id); if (host && html) host.innerHTML = html; }

function follow() {
  const found = /^#wallet=(.+)$/.exec(location.hash), at = found && place.get(decodeURIComponent(found[1]));
  const isWallet = known(at);
  overview.hidden = isWallet; wallet.hidden = !isWallet;
  for (const host of [...drawn]) if (!document.contains(host) || wallet.contains(host)) drawn.delete(host);
  if (isWallet) {
    const person = facts.people[at];
    wallet.innerHTML = fingerprint(person, facts, facts.people[at - 1], facts.people[at + 1]);
    showLines(wallet, () => personLines(person));
    scrollTo(0, 0); wallet.querySelector("h2").focus({preventScroll: true});
  } else {
    wallet.textContent = "";
    if (!overview.dataset.shown && overview.clientWidth) { overview.dataset.shown = "1"; showLines(overview, name => facts.lines[name]); }
    if (location.hash.length > 1) document.getElementById(location.hash.slice(1))?.scrollIntoView();
  }
}

// After the first paint: what is written in the file can be read before anything is drawn.
function draw() {
  put("decays", decays(facts.people, facts));
  put("capacities", capacities(facts.people, facts));
  put("ranking", facts.people.length ? ranking(facts.people, facts) : "");
  follow();
  root.dataset.drawn = "";
}
addEventListener("hashchange", follow);
addEventListener("resize", () => drawn.forEach(host => host.fit()));
const redraw = () => drawn.forEach(host => host.redraw());
document.getElementById("theme").addEventListener("click", () => {
  const isDark = (root.dataset.theme || (matchMedia("(prefers-color-scheme:dark)").matches ? "dark" : "light")) === "dark";
  root.dataset.theme = isDark ? "light" : "dark"; redraw();
});
matchMedia("(prefers-color-scheme:dark)").addEventListener("change", redraw);
if (location.hash.startsWith("#wallet=")) overview.hidden = true;
requestAnimationFrame(() => setTimeout(draw));
