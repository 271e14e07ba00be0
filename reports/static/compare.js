// Two or more models side by side: ticked in the index, read from its own cells.
(() => {
  "use strict";
  const view = document.getElementById("compare"), bar = document.getElementById("bar");
  const chosen = new Set();
  // A head's lines, as the page's own: "Test<br>accuracy" has no space.
  const words = head => [...(head.querySelector("button") ?? head).childNodes].map(each => each.textContent.trim()).filter(Boolean).join(" ");
  const heads = [...(document.querySelector(".board thead tr")?.cells ?? [])].flatMap(head => Array(head.colSpan).fill(words(head)));
  const meanings = [...document.querySelectorAll(".meanings li")].map(item => item.textContent);
  const limits = JSON.parse(document.getElementById("data").textContent).limits;

  const make = (tag, text, name) => {
    const part = document.createElement(tag);
    if (name) part.className = name;
    if (text !== undefined) part.textContent = text;
    return part;
  };

  const boxes = [...document.querySelectorAll(".board tbody tr:not(.family)")].map(row => {
    row.about = row.closest("section").querySelector("h2").firstChild.textContent.trim();
    const box = make("input");
    box.type = "checkbox";
    box.className = "pick";
    const label = `Compare ${row.cells[0].textContent}, ${row.cells[row.cells.length - 1].textContent}`;
    box.setAttribute("aria-label", label.replace(/\s+/g, " ").slice(0, 300));
    box.addEventListener("change", () => { chosen[box.checked ? "add" : "delete"](row); update(); });
    row.cells[0].prepend(box);
    return box;
  });

  const update = () => {
    bar.hidden = !chosen.size;
    document.getElementById("bar-count").textContent = chosen.size === 1 ? "1 model chosen; tick another" : `${chosen.size} models chosen`;
    document.getElementById("bar-compare").disabled = chosen.size < 2;
    if (!view.hidden && chosen.size > 1) draw();
    if (chosen.size < 2) view.hidden = true;
  };

  // What a reader sees in a cell: its own words first, then the lines below them.
  const texts = cell => {
    const below = [...cell.querySelectorAll("small")];
    const whole = cell.cloneNode(true);
    for (const part of whole.querySelectorAll("small, .pick")) part.remove();
    return [whole.textContent.trim(), ...below.map(part => part.textContent.trim())];
  };

  const verdict = (row, number) => {
    const mark = row.querySelectorAll("td.v")[number].querySelector("b").cloneNode(true), word = mark.querySelector("i").textContent;
    const part = make("span", undefined, "compare-verdict");
    mark.querySelector("i").remove();
    mark.setAttribute("aria-hidden", "true");
    part.append(mark, ` ${word}`);
    const figures = row.known[1][number], limit = limits[row.known[0]][number][1];
    const found = figures ? `${figures[0]}, bound ${figures[1]}, allowed ${limit}, n ${figures[2]}` : "nothing was measured";
    return [part, make("span", found, "sub")];
  };

  const line = (title, what, cells, texts) => {
    const row = make("tr"), head = make("th", title);
    head.scope = "row";
    if (what) head.append(make("span", what, "sub"));
    if (new Set(texts).size > 1) {
      row.className = "differs";
      head.append(make("span", "≠ differs", "sub differs-word"));
    }
    row.append(head, ...cells.map(parts => { const cell = make("td"); cell.append(...parts); return cell; }));
    return row;
  };

  const draw = () => {
    const rows = [...chosen], table = make("table"), top = make("tr"), corner = make("th", "Figure");
    corner.scope = "col";
    top.append(corner, ...rows.map(row => {
      const head = make("th"), link = make("a", row.querySelector("a").textContent);
      head.scope = "col";
      link.href = row.querySelector("a").getAttribute("href");
      head.append(link, ...texts(row.cells[0]).slice(1).map(text => make("span", text, "sub")), make("span", row.about, "sub"));
      return head;
    }));
    const body = make("tbody"), first = rows[0].querySelector("td.v").cellIndex;
    const plain = place => {
      const cells = rows.map(row => texts(row.cells[place]));
      body.append(line(heads[place], "", cells.map(([own, ...below]) => [own, ...below.map(text => make("span", text, "sub"))]), cells.map(cell => cell[0])));
    };
    for (let place = 1; place < first; place++) plain(place);
    for (let number = 0; number < 11; number++) {
      const words = rows.map(row => row.querySelectorAll("td.v")[number].querySelector("i").textContent);
      const name = limits[rows[0].known[0]][number][0];
      body.append(line(`${number} ${name}`, meanings[number], rows.map(row => verdict(row, number)), words));
    }
    for (let place = first + 11; place < rows[0].cells.length; place++) plain(place);
    const caption = make("caption", `${rows.length} models side by side`, "hidden"), head = make("thead");
    head.append(top);
    table.className = "compare";
    table.append(caption, head, body);
    document.getElementById("compare-table").replaceChildren(table);
  };

  document.getElementById("bar-compare").addEventListener("click", () => {
    draw();
    view.hidden = false;
    view.scrollIntoView();
    view.focus();
  });
  document.getElementById("bar-clear").addEventListener("click", () => {
    for (const box of boxes) box.checked = false;
    chosen.clear();
    update();
  });
  document.getElementById("compare-close").addEventListener("click", () => {
    view.hidden = true;
    document.getElementById("bar-compare").focus();
  });
})();
