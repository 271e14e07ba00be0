// Verdict cells explain themselves: on pointing, on touch, and on focus, where arrow keys move between them.
const tips = (() => {
  "use strict";
  const data = JSON.parse(document.getElementById("data").textContent);
  const box = document.getElementById("tip");
  const meanings = [...document.querySelectorAll(".meanings li")].map(item => item.textContent);
  const rows = [...document.querySelectorAll(".board tbody tr")];
  let number = 0;
  for (const row of rows) row.known = row.className === "family" ? null : data.rows[number++];
  let shown = null, closing = 0;

  const line = (text, name) => {
    const part = document.createElement("span");
    part.className = name;
    part.textContent = text;
    return part;
  };

  const numberOf = cell => [...cell.parentNode.querySelectorAll("td.v")].indexOf(cell);

  const lines = cell => {
    const row = cell.closest("tr"), index = numberOf(cell.parentNode), mark = cell.querySelector("b");
    const word = mark.querySelector("i").textContent, glyph = mark.firstChild.textContent;
    if (!row.known) {
      return [line(`${index}: ${glyph} ${word}`, "tip-head"), line(meanings[index], "tip-what")];
    }
    const [place, figures, reasons] = row.known, [name, allowed] = data.limits[place][index];
    const found = figures[index]
      ? `observed ${figures[index][0]}, 95% bound ${figures[index][1]}, allowed ${allowed}, n ${figures[index][2]}`
      : "nothing was measured";
    const parts = [line(`${index} ${name}: ${glyph} ${word}`, "tip-head"), line(meanings[index], "tip-what"), line(found, "tip-found")];
    if (reasons[index]) parts.push(line(reasons[index], "tip-why"));
    return parts;
  };

  const place = cell => {
    const at = cell.getBoundingClientRect(), own = box.getBoundingClientRect();
    const left = Math.min(Math.max(8, at.left + at.width / 2 - own.width / 2), document.documentElement.clientWidth - own.width - 8);
    const below = at.bottom + 6 + own.height < innerHeight || at.top < own.height;
    box.style.left = `${Math.max(8, left) + scrollX}px`;
    box.style.top = `${(below ? at.bottom + 6 : at.top - own.height - 6) + scrollY}px`;
  };

  const show = cell => {
    clearTimeout(closing);
    if (shown === cell) return;
    hide();
    shown = cell;
    box.replaceChildren(...lines(cell));
    box.hidden = false;
    place(cell);
    cell.setAttribute("aria-describedby", "tip");
  };
  const hide = () => {
    clearTimeout(closing);
    if (shown) shown.removeAttribute("aria-describedby");
    shown = null;
    box.hidden = true;
  };
  const later = () => {
    clearTimeout(closing);
    closing = setTimeout(() => { if (document.activeElement !== shown) hide(); }, 200);
  };

  // A table body's verdicts become links to their criterion; a family's, which have no page, stay texts.
  const dress = body => {
    if (body.dressed) return;
    body.dressed = true;
    for (const mark of body.querySelectorAll("td.v > b")) {
      const cell = mark.parentNode, row = cell.parentNode;
      const target = document.createElement(row.known ? "a" : "span");
      if (row.known) target.href = `${row.cells[0].querySelector("a").getAttribute("href")}#criterion-${numberOf(cell)}`;
      else target.setAttribute("role", "note");
      target.tabIndex = -1;
      target.setAttribute("aria-label", `${numberOf(cell)} ${mark.lastChild.textContent}`);
      target.className = "verdict-cell";
      mark.replaceWith(target);
      target.append(mark);
    }
  };

  // The Tab key stops once a table, at the verdict that was last looked at; from there arrow keys lead on.
  const anchor = table => {
    const seen = cell => cell.getClientRects().length;
    const stops = [...table.querySelectorAll(".verdict-cell[tabindex='0']")];
    for (const stop of stops) if (!seen(stop)) stop.tabIndex = -1;
    if (stops.some(seen)) return;
    const row = [...table.querySelectorAll("tbody tr")].find(seen);
    if (row) row.querySelector(".verdict-cell").tabIndex = 0;
  };

  const step = (cell, across, down) => {
    const rows = [...cell.closest("table").querySelectorAll("tbody tr")].filter(row => row.getClientRects().length);
    const row = rows.indexOf(cell.closest("tr")), column = numberOf(cell.closest("td"));
    const next = rows[Math.min(rows.length - 1, Math.max(0, row + down))];
    return next.querySelectorAll(".verdict-cell")[Math.min(10, Math.max(0, column + across))];
  };
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1], Home: [-10, 0], End: [10, 0] };
  const cellOf = event => event.target.closest && event.target.closest(".verdict-cell");

  document.addEventListener("keydown", event => {
    if (event.key === "Escape" && !box.hidden) { hide(); return; }
    const cell = cellOf(event);
    if (!cell || !moves[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const next = step(cell, ...moves[event.key]);
    cell.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });
  document.addEventListener("focusin", event => {
    const cell = cellOf(event);
    if (!cell) { if (!box.hidden) hide(); return; }
    for (const other of cell.closest("table").querySelectorAll(".verdict-cell[tabindex='0']")) other.tabIndex = -1;
    cell.tabIndex = 0;
    show(cell);
  });
  document.addEventListener("focusout", event => { if (cellOf(event)) hide(); });
  document.addEventListener("pointerover", event => {
    if (event.pointerType === "touch") return;
    const cell = cellOf(event);
    if (cell) show(cell);
    else if (event.target === box || box.contains(event.target)) clearTimeout(closing);
    else if (shown) later();
  });
  // A first touch explains, a second one follows the link.
  let open = null;
  document.addEventListener("pointerdown", event => { open = shown; });
  document.addEventListener("click", event => {
    const cell = cellOf(event);
    if (cell && event.pointerType === "touch" && open !== cell) { event.preventDefault(); show(cell); }
  });
  return { dress, anchor };
})();
