// Contact sheets, enlarged: the sheet with one image marked, that image large, and what its caption says.
(() => {
  "use strict";
  const viewer = document.getElementById("viewer");
  if (!viewer) return;
  const part = name => document.getElementById(`viewer-${name}`);
  const GAP = 2; // px between two images of a sheet
  const fields = [["Target", /^(?:target )?(.+)$/], ["p", /^p (.+)$/], ["Pixels", /^(.+?) (?:px|pixels)$/], ["Judge's score", /^judge (.+)$/], ["Outcome", /^(.+)$/]];
  let sheet = null, place = 0, opener = null;

  const facts = () => {
    const caption = sheet.captions[place], texts = caption === undefined ? [] : caption.split(" · ");
    const found = texts.length === fields.length ? fields.map(([name, form], at) => [name, form.exec(texts[at])]) : [];
    const read = found.length && found.every(([, match]) => match) ? found.map(([name, match]) => [name, match[1]]) : [];
    if (!read.length && caption !== undefined) read.push(["Caption", caption]);
    read.push(["Made by", sheet.attack || sheet.title]);
    return read;
  };

  const draw = () => {
    const image = part("image"), columns = Math.min(sheet.columns, sheet.count), rows = Math.ceil(sheet.count / columns);
    const wide = (image.naturalWidth + GAP) / columns, high = (image.naturalHeight + GAP) / rows;
    const left = place % columns * wide, top = Math.floor(place / columns) * high;
    const width = Math.max(1, Math.round(wide - GAP)), height = Math.max(1, Math.round(high - GAP));
    const canvas = part("canvas"), scale = Math.max(1, Math.floor(300 / Math.max(width, height)));
    canvas.width = width * scale;
    canvas.height = height * scale;
    const paint = canvas.getContext("2d");
    paint.imageSmoothingEnabled = false;
    paint.drawImage(image, left, top, width, height, 0, 0, canvas.width, canvas.height);
    canvas.setAttribute("aria-label", sheet.captions[place] || `Image ${place + 1}`);
    const frame = part("frame").style;
    frame.left = `${100 * left / image.naturalWidth}%`;
    frame.top = `${100 * top / image.naturalHeight}%`;
    frame.width = `${100 * width / image.naturalWidth}%`;
    frame.height = `${100 * height / image.naturalHeight}%`;
    part("place").textContent = `${place + 1} of ${sheet.count}`;
    part("facts").replaceChildren(...facts().flatMap(([name, text]) => {
      const term = document.createElement("dt"), value = document.createElement("dd");
      term.textContent = name;
      value.textContent = text;
      return [term, value];
    }));
  };

  const move = by => {
    place = Math.min(sheet.count - 1, Math.max(0, place + by));
    draw();
  };

  const open = (figure, button, at) => {
    const captions = [...figure.querySelectorAll(".captions li")].map(item => item.textContent);
    const image = figure.querySelector("img");
    sheet = { captions, count: captions.length || 1, columns: captions.length ? Number(figure.dataset.columns) : 1, title: figure.dataset.title, attack: figure.dataset.attack };
    place = Math.min(sheet.count - 1, Math.max(0, at));
    opener = button;
    part("title").textContent = sheet.title;
    part("image").alt = image.alt;
    part("image").src = image.src;
    viewer.showModal();
    part("image").decode().then(draw);
  };

  // Which image of the sheet lies under the pointer; the first one for the keyboard.
  const under = (event, image, count, columns) => {
    const box = image.getBoundingClientRect();
    if (!event.detail || !box.width) return 0;
    const across = Math.min(columns, count), rows = Math.ceil(count / across);
    const column = Math.floor((event.clientX - box.left) / box.width * across), row = Math.floor((event.clientY - box.top) / box.height * rows);
    return Math.max(0, row) * across + Math.min(across - 1, Math.max(0, column));
  };

  for (const figure of document.querySelectorAll("figure.sheet")) {
    const image = figure.querySelector("img"), button = document.createElement("button");
    button.type = "button";
    button.className = "enlarge";
    button.setAttribute("aria-label", `Enlarge: ${image.alt}`);
    button.setAttribute("aria-haspopup", "dialog");
    image.replaceWith(button);
    button.append(image);
    button.addEventListener("click", event => {
      const count = figure.querySelectorAll(".captions li").length || 1;
      open(figure, button, under(event, image, count, Number(figure.dataset.columns)));
    });
  }
  for (const note of document.querySelectorAll(".scripted")) note.hidden = false;

  part("sheet").addEventListener("click", event => {
    place = Math.min(sheet.count - 1, under(event, part("image"), sheet.count, sheet.columns));
    draw();
  });
  part("back").addEventListener("click", () => move(-1));
  part("next").addEventListener("click", () => move(1));
  part("close").addEventListener("click", () => viewer.close());
  viewer.addEventListener("click", event => { if (event.target === viewer) viewer.close(); });
  viewer.addEventListener("close", () => { if (opener) opener.focus(); });
  viewer.addEventListener("keydown", event => {
    const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -sheet.columns, ArrowDown: sheet.columns, Home: -sheet.count, End: sheet.count };
    if (!(event.key in moves) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    move(moves[event.key]);
  });
})();
