// The index: sorting by column heads, filtering, unfolding of seeds. Everything is in the page; nothing is fetched.
(() => {
  "use strict";
  const tables = [...document.querySelectorAll(".board")];
  if (!tables.length) return;
  const PAGE = 50; // models in a table at once: laying out thousands takes seconds
  const SEVERITY = ["f", "i", "n", "p"];
  const field = name => document.getElementById(name);
  const form = field("filters");

  const make = (name, text) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = name;
    button.textContent = text;
    return button;
  };

  const key = (body, head) => {
    const rule = head.dataset.sort;
    if (rule === "name") return body.name;
    if (rule === "v") return SEVERITY.indexOf(body.verdicts[head.cellIndex]);
    return body.keys[rule] === "-" ? null : Number(body.keys[rule]);
  };

  // Unknown values stand last whichever way a column is sorted; what ties keeps the page's first order.
  const by = direction => (one, other) => {
    if (one.key === null || other.key === null) return (one.key === null) - (other.key === null) || one.place - other.place;
    return one.key < other.key ? -direction : one.key > other.key ? direction : one.place - other.place;
  };

  const render = table => {
    const kept = table.order.filter(body => body.kept), shown = kept.slice(0, table.limit);
    for (const body of [...table.tBodies]) body.remove();
    for (const body of shown) tips.dress(body);
    table.append(...shown);
    tips.anchor(table);
    table.more.hidden = kept.length <= table.limit;
    table.all.hidden = table.more.hidden;
    table.all.textContent = `Show all ${kept.length}`;
  };

  const sort = (table, head) => {
    const before = head.getAttribute("aria-sort");
    const first = head.dataset.first || "descending";
    const way = before === "none" ? first : before === "ascending" ? "descending" : "ascending";
    const items = table.bodies.map((body, place) => ({ body, place, key: key(body, head) }));
    items.sort(by(way === "ascending" ? 1 : -1));
    table.order = items.map(item => item.body);
    for (const other of table.querySelectorAll("th[aria-sort]")) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", way);
    render(table);
  };

  const read = row => {
    const body = row.parentNode, title = row.closest("section").querySelector("h2").textContent;
    const family = body.unfold ? body.rows[0].cells[0].textContent : "";
    return {
      row,
      body,
      text: [title, family, row.cells[0].textContent, row.cells[row.cells.length - 1].textContent].join(" ").toLowerCase(),
      verdicts: [...row.querySelectorAll("td.v b")].map(mark => mark.className),
      certified: row.cells[1].querySelector("strong").className === "p",
      checked: row.cells[1].querySelector(".verified") ? "yes" : "",
      scope: row.cells[1].querySelector("small").textContent.startsWith("scope model") ? "model" : "process",
    };
  };

  const matches = (item, wanted) => {
    if (!wanted.words.every(word => item.text.includes(word))) return false;
    if (wanted.scope && wanted.scope !== item.scope) return false;
    if (wanted.checked && wanted.checked !== item.checked) return false;
    if (wanted.result === "yes" || wanted.result === "no") {
      if (item.certified !== (wanted.result === "yes")) return false;
    } else if (wanted.result && !item.verdicts.includes(wanted.result)) return false;
    if (!wanted.verdict) return true;
    return wanted.which ? item.verdicts[wanted.which] === wanted.verdict : item.verdicts.includes(wanted.verdict);
  };

  const filter = () => {
    const wanted = Object.fromEntries(["result", "which", "verdict", "scope", "checked"].map(name => [name, field(name).value]));
    wanted.words = field("find").value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const table of tables) for (const body of table.bodies) body.kept = false;
    for (const item of rows) {
      const match = matches(item, wanted), unfold = item.body.unfold;
      count += match;
      item.body.kept ||= match;
      item.row.hidden = !match || Boolean(unfold && unfold.getAttribute("aria-expanded") !== "true");
    }
    tables.forEach(render);
    field("shown").textContent = `${count} of ${rows.length} ${rows.length === 1 ? "model" : "models"}`;
  };

  const unfolding = family => {
    const button = make("unfold", ""), name = family.querySelector(".name");
    button.setAttribute("aria-expanded", "false");
    name.replaceWith(button);
    button.append(name);
    button.addEventListener("click", () => {
      button.setAttribute("aria-expanded", String(button.getAttribute("aria-expanded") !== "true"));
      filter();
      button.focus();
    });
    return button;
  };

  for (const table of tables) {
    table.bodies = [...table.tBodies];
    table.order = table.bodies;
    table.limit = PAGE;
    table.more = make("more", `Show ${PAGE} more`);
    table.all = make("more", "Show all");
    table.more.addEventListener("click", () => { table.limit += PAGE; render(table); });
    table.all.addEventListener("click", () => { table.limit = Infinity; render(table); });
    table.parentNode.after(table.more, " ", table.all);
    for (const body of table.bodies) {
      body.keys = body.dataset.k.split(" ");
      body.name = body.rows[0].querySelector("a, .name").textContent.toLowerCase();
      body.verdicts = [...body.rows[0].querySelectorAll("td.v b")].map(mark => mark.className);
      body.unfold = body.rows[0].className === "family" ? unfolding(body.rows[0]) : null;
    }
    for (const head of table.querySelectorAll("th[data-sort]")) {
      const button = make("sort", "");
      button.append(...head.childNodes);
      head.append(button);
      head.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => sort(table, head));
    }
  }
  const rows = tables.flatMap(table => [...table.querySelectorAll("tbody tr:not(.family)")]).map(read);
  form.addEventListener("input", filter);
  form.addEventListener("submit", event => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(filter));
  form.hidden = false;
  field("keys").hidden = false;
  filter();
})();
