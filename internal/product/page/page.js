// Keeps an open page up to date: upkeep says that something has happened, and the parts of the page that differ
// are replaced. A part with a form that is being filled in stays as it is. Without this the page is whole.
"use strict";
(() => {
  const main = document.getElementById("main"), live = document.getElementById("live");
  if (!main || !live || !window.EventSource) return;
  const kept = new Map(); // the parts as the server has sent them
  const parts = of => [...of.children].filter(e => e.id);
  const remember = () => { kept.clear(); for (const p of parts(main)) kept.set(p.id, p.outerHTML); };
  const say = text => { if (live.textContent !== text) live.textContent = text; };
  const busy = part => [...part.querySelectorAll("input, select, textarea")].some(e =>
    e === document.activeElement || e.type !== "hidden" && e.type !== "checkbox" && e.tagName === "INPUT" && e.value !== e.defaultValue);
  // What is in the window stays where it is: the first part of it that is there before and after.
  function still(change) {
    const marks = scrollY > 0 ? [...main.querySelectorAll("[id]")].map(e => [e.id, e.getBoundingClientRect().top]).filter(m => m[1] >= 0) : [];
    change();
    const mark = marks.find(m => document.getElementById(m[0]));
    if (mark) scrollBy({top: document.getElementById(mark[0]).getBoundingClientRect().top - mark[1], behavior: "instant"});
  }
  function put(fresh) {
    const have = new Map(parts(main).map(p => [p.id, p]));
    let before = null;
    for (const next of parts(fresh)) {
      const old = have.get(next.id);
      have.delete(next.id);
      if (old && (kept.get(next.id) === next.outerHTML || busy(old))) { before = old; continue; }
      kept.set(next.id, next.outerHTML);
      const mine = document.importNode(next, true);
      if (old) {
        const focus = old.contains(document.activeElement) ? document.activeElement.id : "";
        for (const d of old.querySelectorAll("details[open][id]")) {
          const same = mine.querySelector("#" + CSS.escape(d.id));
          if (same) same.open = true;
        }
        old.replaceWith(mine);
        if (focus) document.getElementById(focus)?.focus({preventScroll: true});
      } else if (before) before.after(mine);
      else main.prepend(mine);
      before = mine;
    }
    for (const [id, old] of have) if (!busy(old)) { old.remove(); kept.delete(id); }
  }
  let asking = false, again = false, last = 0, timer = 0;
  async function refresh() {
    timer = 0;
    if (asking) { again = true; return; }
    asking = true;
    last = Date.now();
    try {
      const answer = await fetch(location.href, {headers: {Accept: "text/html"}, redirect: "error"});
      if (answer.status === 401 || answer.status === 403) { say("Logged out: load the page again"); stop(); return; }
      if (!answer.ok) { say("The page could not be read (" + answer.status + "); trying again"); return; }
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      still(() => put(fresh.getElementById("main")));
      document.title = fresh.title;
      say("Live");
    } catch { say("upkeep does not answer; trying again"); }
    finally { asking = false; if (again) { again = false; soon(); } }
  }
  const soon = () => { if (!timer) timer = setTimeout(refresh, Math.max(50, 700 - (Date.now() - last))); };
  let source = null, slow = 0;
  function stop() { source?.close(); source = null; clearInterval(slow); }
  function start() {
    if (source) return;
    source = new EventSource(main.dataset.events);
    source.onopen = () => say("Live");
    source.onerror = () => say("No connection; trying again");
    source.addEventListener("change", soon);
    slow = setInterval(soon, 30000); // ages, and what no event tells
  }
  // A browser has six connections to a host: a tab that no one sees gives its own back.
  document.addEventListener("visibilitychange", () => { if (document.hidden) stop(); else { start(); soon(); } });
  addEventListener("pagehide", stop);
  remember();
  if (!document.hidden) start();
})();
