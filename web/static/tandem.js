// What makes the pages better where scripts run: typing is kept as it happens, the
// status is followed, timers run. Nothing here decides anything.
"use strict";
(() => {
  const $ = (s, at = document) => at.querySelector(s);
  const $$ = (s, at = document) => [...at.querySelectorAll(s)];
  const body = document.body;
  // A request that outlives its page carries 64 KiB at the most: longer words go without.
  const post = (url, data) => fetch(url, { method: "POST", body: data, credentials: "same-origin", keepalive: data.toString().length < 60000 });
  let leaving = false;
  // Where the page itself leads elsewhere, as to the lock, nothing is asked.
  let led = false;
  const lead = (to) => { led = true; location.href = to; };
  // Once a tap leads elsewhere, nothing of the page's own leads back: a reload would take
  // the place of what was tapped. A tap that led to no page, as one on a telephone number,
  // is over after a while.
  let went = -Infinity;
  addEventListener("beforeunload", () => { went = performance.now(); });
  const going = () => performance.now() - went < 15000;
  // What is shown does not change under a finger that is down.
  let lifted = Promise.resolve(), lift = () => {};
  document.addEventListener("pointerdown", () => { lifted = new Promise((done) => { lift = done; }); }, true);
  for (const kind of ["pointerup", "pointercancel"]) document.addEventListener(kind, () => setTimeout(lift), true);
  addEventListener("pageshow", (e) => { if (e.persisted) location.reload(); });

  // --- typing is kept ---------------------------------------------------------
  // Each form with data-draft sends what changed, at most 300 ms after the first
  // keystroke that is not kept; a failure is tried again until it works.
  const forms = [];
  const windows = "BroadcastChannel" in self ? new BroadcastChannel("tandem-drafts" + new URL(document.baseURI).pathname) : null;
  const valuesOf = (form, name) => {
    const out = [];
    for (const el of form.elements) {
      if (el.name !== name || el.disabled) continue;
      if ((el.type === "radio" || el.type === "checkbox") && !el.checked) continue;
      if (el.type === "hidden") continue;
      out.push(el.value);
    }
    return out;
  };
  // Of a form: which questions are asked now, and what the answers come to. Of a call: what
  // is known of its address.
  const ask = async (m) => {
    const place = $("#place");
    if (m.place !== undefined && place) {
      // As the page writes it: what has not changed is not said again.
      const fresh = document.createElement("template");
      fresh.innerHTML = m.place;
      await lifted;
      if (place.innerHTML !== fresh.innerHTML) place.innerHTML = m.place;
    }
    if (!m.off) return;
    for (const el of $$("[data-item]")) el.hidden = m.off.includes(el.dataset.item);
    const el = $("#result");
    if (el && el.innerHTML !== m.result) el.innerHTML = m.result;
  };
  class Keeper {
    constructor(form) {
      this.form = form; this.url = form.dataset.draft; this.dirty = new Set(); this.flying = null; this.timer = 0; this.failed = 0;
      this.seen = JSON.parse(form.dataset.seen || "{}");
      form.addEventListener("input", (e) => this.touch(e.target));
      form.addEventListener("change", (e) => this.touch(e.target));
    }
    touch(el) {
      if (!el.name || el.dataset.local !== undefined) return;
      this.dirty.add(el.name);
      this.state("typing");
      const wait = el.type === "radio" || el.type === "checkbox" ? 0 : 300;
      if (wait === 0) { clearTimeout(this.timer); this.timer = 0; this.send(); return; }
      if (!this.timer) this.timer = setTimeout(() => { this.timer = 0; this.send(); }, wait);
    }
    state(s) {
      for (const el of $$("[data-kept]")) { el.textContent = el.dataset[s] || ""; el.dataset.state = s; }
    }
    pack(names) {
      const data = new URLSearchParams();
      data.set("hash", body.dataset.hash || "");
      for (const n of names) {
        data.append("field", n);
        data.append("seen." + n, this.seen[n] || 0);
        for (const v of valuesOf(this.form, n)) data.append("v." + n, v);
      }
      return data;
    }
    async send() {
      if (this.flying || this.dirty.size === 0) return;
      const names = [...this.dirty];
      this.dirty.clear(); this.flying = names;
      let ok = false, answer = {};
      try {
        const r = await post(this.url, this.pack(names));
        ok = r.ok;
        if (ok) answer = await r.json();
        if (r.status === 423) { lead("lock"); }
        if (r.status === 410) { lead(answer.to || "today"); }
      } catch { ok = false; }
      this.flying = null;
      if (!ok) {
        for (const n of names) this.dirty.add(n);
        this.failed++;
        if (this.failed > 1) $("#unsaved").hidden = false;
        if (!this.timer) this.timer = setTimeout(() => { this.timer = 0; this.send(); }, 700);
        return;
      }
      this.failed = 0; $("#unsaved").hidden = true;
      Object.assign(this.seen, answer.seen || {});
      ask(answer);
      if (windows) windows.postMessage({ url: this.url, seen: answer.seen || {}, off: answer.off, result: answer.result, place: answer.place, values: Object.fromEntries(names.map((n) => [n, valuesOf(this.form, n)])) });
      // A later key, or one of another form of the page, is not kept yet.
      this.state(forms.some((k) => k.dirty.size || k.flying) ? "typing" : "kept");
      if (this.dirty.size) this.send(); else poll();
    }
    // What another window typed shows here, where nobody types.
    take(m) {
      const changed = [];
      for (const [n, values] of Object.entries(m.values)) {
        if (this.dirty.has(n) || (document.activeElement && document.activeElement.name === n && document.hasFocus())) continue;
        const codes = [];
        for (const el of this.form.elements) {
          if (el.name !== n || el.type === "hidden") continue;
          changed.push(el);
          if (el.type === "radio" || el.type === "checkbox") { el.checked = values.includes(el.value); codes.push(el.value); }
          else el.value = values.find((v) => !codes.includes(v)) || "";
        }
        this.seen[n] = m.seen[n] || this.seen[n];
      }
      ask(m);
      scales();
      when();
      for (const el of changed) sums(el);
    }
    unkept() { return [...new Set([...this.dirty, ...(this.flying || [])])]; }
    long() { const names = this.unkept(); return names.length > 0 && this.pack(names).toString().length >= 60000; }
    flush() {
      const names = this.unkept();
      if (names.length === 0) return;
      if (!navigator.sendBeacon(this.url, this.pack(names))) this.send();
    }
  }
  for (const f of $$("form[data-draft]")) forms.push(new Keeper(f));
  // What a request that outlives its page cannot carry is asked about before the page goes.
  addEventListener("beforeunload", (e) => { if (!leaving && !led && forms.some((k) => k.long())) e.preventDefault(); });
  if (windows) windows.onmessage = (e) => { for (const k of forms) if (k.url === e.data.url) k.take(e.data); };
  addEventListener("pagehide", () => {
    if (!leaving) for (const k of forms) k.flush();
    for (const k of forms) if (k.form.dataset.settle) navigator.sendBeacon(k.form.dataset.settle, new URLSearchParams({ leaving: "1" }));
  });
  document.addEventListener("visibilitychange", () => { if (document.hidden) for (const k of forms) k.flush(); });

  // A button waits until what was typed is kept, which takes a moment, and then sends no
  // field of its own but those that are no typing.
  let tapped = 0;
  document.addEventListener("submit", async (e) => {
    const form = e.target;
    if (form.dataset.sent) return;
    const own = forms.find((k) => k.form === form);
    if (own && !$('input[name=kept]', form)) {
      const el = document.createElement("input"); el.type = "hidden"; el.name = "kept"; el.value = "1"; form.append(el);
    }
    const mine = ++tapped, busy = () => forms.some((k) => k.dirty.size || k.flying);
    if (!busy()) { leaving = true; return; }
    e.preventDefault();
    // Of several taps meanwhile the last one counts.
    for (let i = 0; i < 76 && mine === tapped && busy(); i++) {
      for (const k of forms) k.send();
      if (i === 40) $("#unsaved").hidden = false;
      await new Promise((done) => setTimeout(done, i < 40 ? 25 : 250));
    }
    if (mine !== tapped) return;
    if (busy()) { $("#unsaved").hidden = false; return; }
    leaving = true; form.dataset.sent = "1";
    form.requestSubmit(e.submitter && e.submitter.form === form ? e.submitter : undefined);
  });

  // A chosen chip of one can be taken back by another tap.
  document.addEventListener("click", (e) => {
    const el = e.target;
    if (el.matches?.(".chips input[type=radio]")) {
      if (el.dataset.was === "1") { el.checked = false; el.dataset.was = ""; el.dispatchEvent(new Event("change", { bubbles: true })); }
      else { for (const o of $$(`input[name="${el.name}"]`, el.form || document)) o.dataset.was = ""; el.dataset.was = "1"; }
    }
  });
  for (const el of $$(".chips input[type=radio]:checked")) el.dataset.was = "1";
  // A scale says in words where it stands; what is beside its slider is in place of it.
  const scales = () => {
    for (const el of $$(".stops input")) {
      const words = $$("span > span", el.parentElement), at = Number(el.value), beside = $(":checked", el.closest(".scale"));
      el.setAttribute("aria-valuetext", beside ? beside.closest("label").innerText : words[at].innerText);
      el.toggleAttribute("data-unset", at === 0);
    }
  };
  document.addEventListener("input", (e) => {
    const box = e.target.closest?.(".scale");
    if (!box) return;
    for (const el of $$("input[type=checkbox]", box)) if (el !== e.target) el.checked = false;
    if (e.target.checked) $("input[type=range]", box).value = 0;
    scales();
  }, true);
  scales();
  // Forms whose choice is the whole answer go at once.
  document.addEventListener("change", (e) => { const f = e.target.form; if (f && f.dataset.go !== undefined) f.requestSubmit(); });

  // What folds says what is in it while it is folded up.
  const plain = ["none", "no", "yes", "unknown", "low", "moderate", "high", "unable_to_assess"];
  const sum = (box) => {
    const out = $(":scope > summary > small", box);
    if (!out) return;
    const says = [];
    out.dataset.usual ??= out.dataset.says === undefined ? "" : out.textContent;
    for (const el of $$("input[type=radio]:checked, input[type=checkbox]:checked, .stops input, textarea", box)) {
      if (el.tagName === "TEXTAREA") {
        const words = el.value.split(/\s+/).filter(Boolean).join(" ");
        if (words) says.push(words.length > 60 ? [...words].slice(0, 59).join("") + "…" : words);
        continue;
      }
      const scale = el.type === "range", text = scale ? (Number(el.value) > 0 ? $$("span > span", el.parentElement)[Number(el.value)].textContent : "") : el.nextElementSibling?.textContent;
      if (!text || el.value === "true") continue;
      const asks = $("legend", el.closest("fieldset"));
      says.push((scale || plain.includes(el.value)) && asks ? asks.firstChild.textContent.trim() + " " + text : text);
    }
    // Where nothing is chosen, the usual one holds.
    out.textContent = says.join(", ") || out.dataset.usual;
  };
  const sums = (el) => { while ((el = el.parentElement?.closest("details"))) if (el.closest("form[data-draft]") || $("small[data-says]", el)) sum(el); };
  for (const kind of ["input", "change"]) document.addEventListener(kind, (e) => sums(e.target));
  // What the browser has put back into a form is said too.
  addEventListener("pageshow", () => { for (const el of $$("small[data-says]")) sum(el.closest("details")); });

  // What was folded by hand stays so; where the page is shown again, all of it does.
  const folds = $$("details[data-fold]"), foldKey = "fold " + (body.dataset.record || location.pathname);
  if (folds.length) {
    const kept = JSON.parse(sessionStorage.getItem(foldKey) || "{}"), hand = kept.hand || {};
    const each = (f) => Object.fromEntries(folds.map((el) => [el.dataset.fold, f(el)]));
    const given = each((el) => el.open);
    const keep = () => sessionStorage.setItem(foldKey, JSON.stringify({ hand, given, all: each((el) => el.open) }));
    const again = ["reload", "back_forward"].includes(performance.getEntriesByType("navigation")[0]?.type);
    for (const el of folds) {
      const key = el.dataset.fold, was = (again && kept.all ? kept.all : hand)[key];
      // A fault is seen, and so is what another window has typed, what is to do since, and
      // what a link leads to.
      const since = given[key] && kept.given && !kept.given[key];
      if (was !== undefined && !since && !$(".wrong, .other", el) && location.hash !== "#" + key) el.open = was;
      $(":scope > summary", el).addEventListener("click", () => setTimeout(() => { hand[key] = el.open; sum(el); keep(); }));
    }
    // Not every browser opens what a link of the page leads to.
    document.addEventListener("click", (e) => { const to = e.target.closest?.(".jump a"), box = to && document.getElementById(to.hash.slice(1))?.closest("details"); if (box) box.open = true; });
    addEventListener("pagehide", keep);
  }

  // Fields that are asked only after an answer.
  const when = () => {
    for (const el of $$("[data-when]")) {
      const [name, codes] = el.dataset.when.split("=");
      const form = el.closest("form");
      const have = form ? valuesOf(form, name) : [];
      const prefix = (c) => c.endsWith("*");
      el.hidden = !codes.split(",").some((c) => (prefix(c) ? have.some((h) => h.startsWith(c.slice(0, -1))) : c === "!" ? have.length > 0 && !have.includes("none") : have.includes(c)));
    }
  };
  document.addEventListener("change", when);
  when();

  // --- the status is followed ---------------------------------------------------
  let polling = false;
  async function poll() {
    if (polling || body.dataset.live === undefined) return;
    polling = true;
    try {
      const q = new URLSearchParams({ record: body.dataset.record || "", hash: body.dataset.hash || "" });
      const r = await fetch("status?" + q, { credentials: "same-origin" });
      if (r.ok) {
        const s = await r.json();
        await lifted;
        if (going()) return;
        const el = $("#status");
        if (el && el.innerHTML !== s.html && !el.contains(document.activeElement)) el.innerHTML = s.html;
        if (s.theme) document.documentElement.dataset.theme = s.theme;
        if (s.locked) {
          await Promise.all(forms.map((k) => k.send()));
          lead("lock");
        }
        if (s.changed) {
          const busy = forms.some((k) => k.dirty.size || k.flying);
          const typing = document.activeElement && document.activeElement.matches("input, textarea");
          if (!busy && !typing) { sessionStorage.setItem("y", String(scrollY)); location.reload(); } else $("#moved").hidden = false;
        }
      }
    } catch { /* The app is not there: typing says so. */ } finally { polling = false; }
  }
  const y = sessionStorage.getItem("y");
  if (y) { scrollTo(0, Number(y)); sessionStorage.removeItem("y"); }
  setInterval(() => { if (!document.hidden) poll(); }, 2000);

  // Using the device keeps it open.
  let touched = 0;
  for (const kind of ["pointerdown", "keydown"]) addEventListener(kind, () => {
    if (body.dataset.live !== undefined && Date.now() - touched > 15000) { touched = Date.now(); post("touch", new URLSearchParams()).catch(() => {}); }
  }, { passive: true });

  // --- timers ---------------------------------------------------------------------
  const ticks = () => {
    for (const el of $$("[data-since]")) {
      const s = Math.max(0, Math.floor((Date.now() - Number(el.dataset.since)) / 1000));
      const p = (n) => String(n).padStart(2, "0");
      el.textContent = s >= 3600 ? Math.floor(s / 3600) + ":" + p(Math.floor(s / 60) % 60) + ":" + p(s % 60) : Math.floor(s / 60) + ":" + p(s % 60);
    }
    for (const el of $$("[data-until]")) if (Date.now() > Number(el.dataset.until)) el.remove();
  };
  ticks();
  setInterval(ticks, 1000);
  // A long press on a timer edits it; so does the link under it.
  let held = 0, pressed = null;
  document.addEventListener("pointerdown", (e) => {
    const el = e.target.closest?.("[data-edit]");
    if (!el) return;
    pressed = el; held = setTimeout(() => { if (pressed === el) { el.dataset.held = "1"; location.href = el.dataset.edit; } }, 550);
  });
  for (const kind of ["pointerup", "pointercancel", "pointermove"]) document.addEventListener(kind, (e) => { if (kind !== "pointermove" || Math.abs(e.movementX) + Math.abs(e.movementY) > 12) { clearTimeout(held); pressed = null; } });
  document.addEventListener("click", (e) => { const el = e.target.closest?.("[data-held]"); if (el) e.preventDefault(); }, true);
  document.addEventListener("contextmenu", (e) => { if (e.target.closest?.("[data-edit]")) e.preventDefault(); });

  // --- search -----------------------------------------------------------------------
  for (const input of $$("input[data-search]")) {
    let timer = 0, n = 0;
    input.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(async () => {
        const mine = ++n;
        const q = new URLSearchParams(new FormData(input.form));
        try {
          const r = await fetch(input.dataset.search + "?" + q, { credentials: "same-origin" });
          const found = await r.text();
          await lifted;
          if (r.ok && mine === n) {
            $(input.dataset.into).innerHTML = found;
            input.dataset.found = q.get(input.name);
          }
        } catch { /* What is shown stays. */ }
      }, 120);
    });
  }
  // --- a signature on glass -------------------------------------------------------------
  for (const pad of $$("canvas[data-sign]")) {
    const out = $("input[name=signature]", pad.form || pad.closest("form"));
    const pen = pad.getContext("2d");
    let strokes = [], stroke = null;
    const size = () => { pad.width = pad.clientWidth; pad.height = pad.clientHeight; draw(); };
    const draw = () => {
      pen.clearRect(0, 0, pad.width, pad.height);
      pen.lineWidth = 3; pen.lineCap = pen.lineJoin = "round"; pen.strokeStyle = "#111";
      for (const s of strokes) { pen.beginPath(); s.forEach(([x, y], i) => (i ? pen.lineTo(x * pad.width / 1000, y * pad.height / 1000) : pen.moveTo(x * pad.width / 1000, y * pad.height / 1000))); pen.stroke(); }
      out.value = strokes.map((s) => s.map(([x, y], i) => (i ? "L" : "M") + x + " " + y).join("")).join("");
      if (out.value.length > 15900) out.value = out.value.slice(0, 15900).replace(/[ML][0-9]*( [0-9]*)?$/, "");
    };
    const at = (e) => { const r = pad.getBoundingClientRect(); const n = (v, w) => Math.min(1000, Math.max(0, Math.round((v / w) * 1000))); return [n(e.clientX - r.x, r.width), n(e.clientY - r.y, r.height)]; };
    pad.addEventListener("pointerdown", (e) => { pad.setPointerCapture(e.pointerId); strokes.push((stroke = [at(e)])); e.preventDefault(); });
    pad.addEventListener("pointermove", (e) => { if (stroke) { stroke.push(at(e)); draw(); } });
    for (const k of ["pointerup", "pointercancel"]) pad.addEventListener(k, () => { stroke = null; draw(); });
    for (const b of $$("[data-sign-clear]", pad.closest("form"))) b.addEventListener("click", () => { strokes = []; draw(); });
    new ResizeObserver(size).observe(pad);
  }
  // --- phrases go where the writing is ---------------------------------------------------
  for (const b of $$("[data-insert]")) {
    const area = $("textarea", b.closest(".text"));
    area.addEventListener("focus", () => { area.dataset.used = "1"; });
    b.type = "button";
    b.addEventListener("click", () => {
      // What is marked stays: the phrase comes after it.
      const at = area.dataset.used ? area.selectionEnd : area.value.length, gap = (c) => (c && c.trim() ? " " : "");
      area.setRangeText(gap(area.value[at - 1]) + b.textContent + gap(area.value[at]), at, at, "end");
      area.dispatchEvent(new Event("input", { bubbles: true }));
      area.focus();
    });
  }
  // --- what is new shows by itself -------------------------------------------------------
  // The page asks for news and takes the parts that have changed, but none that somebody
  // is working in: then it says so.
  const rest = (ms) => new Promise((done) => setTimeout(done, ms));
  const busyIn = (part) => {
    const at = document.activeElement;
    if (at && part.contains(at) && at.matches("input, textarea, select")) return true;
    return $$("input, textarea, select", part).some((e) => (e.type === "checkbox" || e.type === "radio" ? e.checked !== e.defaultChecked : e.tagName === "SELECT" ? [...e.options].some((o) => o.selected !== o.defaultSelected) && e.selectedIndex > 0 : e.type !== "hidden" && e.value !== e.defaultValue));
  };
  // What has the focus is found again by what it is, not by where it stood.
  const markOf = (at) => {
    const has = (...names) => names.map((n) => (at.getAttribute(n) ? `[${n}="${CSS.escape(at.getAttribute(n))}"]` : "")).join("");
    if (at.id) return "#" + CSS.escape(at.id);
    if (at.matches("summary")) return at.parentElement.id && "#" + CSS.escape(at.parentElement.id) + " > summary";
    return has("href") || (at.value ? has("name", "value") : "") || has("aria-labelledby");
  };
  const take = (html) => {
    const next = new DOMParser().parseFromString(html, "text/html");
    const changed = $$("[data-part]").map((part) => [part, $(`[data-part="${part.dataset.part}"]`, next)]).filter(([part, fresh]) => fresh && fresh.innerHTML !== part.dataset.was);
    // A decision is about what stands above it: either all of the page is new, or nothing.
    if (changed.some(([part]) => busyIn(part))) { $("#moved").hidden = false; return; }
    for (const [part, fresh] of changed) {
      const at = part.contains(document.activeElement) ? document.activeElement : null, links = () => $$("a[href]", part), nth = links().indexOf(at), mark = at ? markOf(at) : "";
      const open = $$("details[open][id]", part).map((e) => e.id);
      const moved = $$("ul, .wide", part).map((e) => e.scrollLeft);
      part.innerHTML = fresh.innerHTML; part.dataset.was = fresh.innerHTML;
      $$("ul, .wide", part).forEach((e, i) => { if (moved[i]) e.scrollLeft = moved[i]; });
      for (const id of open) { const e = document.getElementById(id); if (e) e.open = true; }
      // A link that has gone gives the focus to the one that stands there now; nothing else does,
      // so that no key that was meant for it does something else.
      if (at) ((mark && $(mark, part)) || links().slice(0, nth + 1).at(-1) || $("#main")).focus({ preventScroll: !mark });
    }
    const said = $("#news");
    if (changed.length && said) said.textContent = said.dataset.says;
  };
  const news = async () => {
    const own = { credentials: "same-origin", headers: { "Tandem-Follow": "1", Accept: "text/html" } };
    for (let at = body.dataset.at; ; await rest(300)) {
      if (document.hidden) { await new Promise((done) => document.addEventListener("visibilitychange", done, { once: true })); continue; }
      try {
        const r = await fetch(body.dataset.follow + "?at=" + encodeURIComponent(at), own);
        if (r.status === 401 || r.status === 403 || r.redirected) { location.reload(); return; }
        if (!r.ok) { await rest(5000); continue; }
        const s = await r.json();
        if (s.at === at) continue;
        const page = await fetch(location.href, own);
        // Who may not see it any more is not shown it.
        if (page.redirected || (page.status >= 400 && page.status < 500)) { location.reload(); return; }
        if (!page.ok) { await rest(5000); continue; }
        const fresh = await page.text();
        // Nothing moves under a finger that is down.
        await lifted;
        take(fresh);
        at = s.at;
      } catch { await rest(3000); }
    }
  };
  if (body.dataset.follow) { for (const part of $$("[data-part]")) part.dataset.was = part.innerHTML; news(); }
  // Where one is in a line that is moved sideways is seen.
  for (const at of $$(".rail [aria-current], .reasons [aria-current]")) {
    const line = at.closest("ul"), l = line.getBoundingClientRect(), a = at.getBoundingClientRect();
    line.scrollLeft += a.left - l.left - (l.width - a.width) / 2;
  }
  for (const b of $$("[data-print]")) { b.hidden = false; b.addEventListener("click", () => print()); }
  for (const b of $$("[data-noscript]")) b.hidden = true;
  document.documentElement.dataset.ready = "1";
})();
