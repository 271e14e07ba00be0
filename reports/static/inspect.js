// One image at a time: could it be real, and which class. Marks stay in this browser until they are saved as a file.
(() => {
  "use strict";
  const data = JSON.parse(document.getElementById("data").textContent);
  const part = name => document.getElementById(name);
  const total = data.images.length, known = new Set(data.images.map(image => image.item));
  const digits = data.classes.every(name => /^[0-9]+$/.test(name));
  const UNSURE = "-", KEYS = "1234567890abcdefghijklmnopqrstuvwxyz", LONGEST = 86400, CELL = `distal-inspection-${data.page}`;
  const own = data.classes.map(name => name.toLowerCase());
  const keys = own.every(name => /^[0-9a-z]$/.test(name)) && new Set(own).size === own.length ? own : [...KEYS].slice(0, own.length);
  let marks = new Map(), trail = [], place = 0, asking = false, since = 0, unsaved = false;

  // What an earlier visit left, as far as it makes sense; storage may be missing, full or forbidden.
  const sound = mark => mark && typeof mark.real === "boolean" && (mark.label === null || (mark.real && data.classes.includes(mark.label)))
    && Number.isFinite(mark.seconds) && mark.seconds >= 0 && mark.seconds <= LONGEST;
  const recall = () => {
    try {
      const kept = JSON.parse(localStorage.getItem(CELL) || "{}");
      for (const [item, mark] of Object.entries(kept.marks || {})) {
        if (known.has(item) && sound(mark)) marks.set(item, { real: mark.real, label: mark.label, seconds: mark.seconds });
      }
      part("rater").value = typeof kept.rater === "string" ? kept.rater.slice(0, 80) : "";
    } catch { marks = new Map(); }
  };
  const keep = () => {
    try {
      localStorage.setItem(CELL, JSON.stringify({ rater: part("rater").value, marks: Object.fromEntries(marks) }));
      return true;
    } catch { return false; }
  };

  const only = shown => { for (const name of ["start", "looking", "end"]) part(name).hidden = name !== shown; };
  const item = () => data.images[place].item;
  const unmarked = () => data.images.findIndex(image => !marks.has(image.item));
  const say = mark => !mark.real ? "not real" : mark.label === null ? "could be real, not sure which" : `could be real: ${mark.label}`;

  const ask = () => {
    const mark = marks.get(item()), noun = digits ? "digit" : "image of one of the classes";
    part("question").textContent = asking ? (digits ? "Which digit?" : "Which class?") : `Could this be a real ${noun}?`;
    part("answers").hidden = asking;
    part("classes").hidden = !asking;
    part("mark").textContent = mark ? `Your mark: ${say(mark)}.` : "";
    for (const [name, real] of [["yes", true], ["no", false]]) part(name).setAttribute("aria-pressed", String(Boolean(mark) && mark.real === real));
    [...part("classes").children].forEach((button, at) => {
      const label = at < data.classes.length ? data.classes[at] : null;
      button.setAttribute("aria-pressed", String(Boolean(mark) && mark.real && mark.label === label));
    });
    part("undo").disabled = !asking && !trail.length;
    part("question").focus({ preventScroll: true });
  };
  const show = to => {
    place = to;
    asking = false;
    since = performance.now();
    for (const [name, alt] of [["large", `Image ${place + 1}`], ["small", ""]]) {
      part(name).src = `data:image/png;base64,${data.images[place].png}`;
      part(name).alt = alt;
    }
    part("place").textContent = `Image ${place + 1} of ${total}`;
    part("bar").value = marks.size;
    part("count").textContent = `${marks.size} of ${total} marked`;
    part("back").disabled = place === 0;
    only("looking");
    ask();
  };
  const finish = () => {
    const missing = total - marks.size;
    part("done").textContent = missing ? `${missing} of ${total} images have no mark yet` : `All ${total} images are marked`;
    part("left").textContent = missing ? "You can save what you have, but a file with less than half of the marks will not be taken." : "Thank you. Save your marks now.";
    part("saved").textContent = "";
    only("end");
    part("done").focus({ preventScroll: true });
  };
  const move = by => {
    if (part("end").hidden === false) { if (by < 0) show(total - 1); return; }
    if (place + by >= total) finish();
    else if (place + by >= 0) show(place + by);
  };
  const set = (real, label) => {
    const seconds = Math.round(Math.min(LONGEST, (performance.now() - since) / 1000) * 100) / 100;
    trail.push([place, marks.get(item())]);
    marks.set(item(), { real, label, seconds });
    unsaved = !keep();
    move(1);
  };
  const undo = () => {
    if (asking) { asking = false; ask(); return; }
    if (!trail.length) return;
    const [at, before] = trail.pop();
    if (before) marks.set(data.images[at].item, before);
    else marks.delete(data.images[at].item);
    unsaved = !keep();
    show(at);
  };
  const yes = () => { asking = true; ask(); };

  const save = () => {
    const said = data.images.filter(image => marks.has(image.item)).map(image => ({ item: image.item, ...marks.get(image.item) }));
    const file = { schema_version: 1, certificate: data.certificate, page: data.page, rater: part("rater").value.slice(0, 80), marks: said };
    const link = document.createElement("a"), name = part("rater").value.replace(/[^0-9A-Za-z]+/g, "-").slice(0, 40) || "marks";
    link.href = URL.createObjectURL(new Blob([`${JSON.stringify(file, null, 1)}\n`], { type: "application/json" }));
    link.download = `inspection-${data.page.slice(0, 8)}-${name}.json`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    part("saved").textContent = `Saved ${said.length} marks as ${link.download}.`;
    unsaved = false;
  };
  const anew = () => {
    if (!confirm("Forget all marks on this page?")) return;
    marks = new Map();
    trail = [];
    part("rater").value = "";
    keep();
    show(0);
  };

  const button = (text, key, label) => {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = text;
    if (key && key !== text.toLowerCase()) {
      const hint = document.createElement("kbd");
      hint.textContent = key === UNSURE ? key : key.toUpperCase();
      made.append(hint);
    }
    made.addEventListener("click", () => set(true, label));
    return made;
  };
  part("classes").append(...data.classes.map((name, at) => button(name, keys[at], name)), button("Not sure which", UNSURE, null));

  document.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target === part("rater") || !part("start").hidden) return;
    const key = event.key.toLowerCase(), moves = { arrowleft: -1, arrowright: 1 };
    const single = part("keys").checked && !event.repeat && !part("looking").hidden;
    let done = () => undefined;
    if (key in moves) done = () => move(moves[key]);
    else if (key === "backspace") done = undo;
    else if (single && asking && keys.includes(key)) done = () => set(true, data.classes[keys.indexOf(key)]);
    else if (single && asking && key === UNSURE) done = () => set(true, null);
    else if (single && !asking && key === "y") done = yes;
    else if (single && !asking && key === "n") done = () => set(false, null);
    else return;
    event.preventDefault();
    done();
  });
  const actions = { yes, no: () => set(false, null), back: () => move(-1), next: () => move(1), undo, save, anew, resume: () => show(Math.max(0, unmarked())) };
  for (const [name, action] of Object.entries(actions)) part(name).addEventListener("click", action);
  part("rater").addEventListener("input", keep);
  part("begin").addEventListener("click", () => { if (unmarked() < 0) finish(); else show(unmarked()); });
  addEventListener("beforeunload", event => { if (unsaved && marks.size) event.preventDefault(); });

  recall();
  part("unkept").hidden = keep();
  if (marks.size) {
    part("begin").textContent = "Go on";
    part("resumed").textContent = `${marks.size} of ${total} marked on an earlier visit.`;
  }
  only("start");
  part("begin").focus();
})();
