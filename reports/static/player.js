// The rounds' images one after the other: play, pause, step; never by itself, never where less motion is asked for.
(() => {
  "use strict";
  const player = document.getElementById("player");
  if (!player) return;
  const part = name => document.getElementById(`player-${name}`);
  const frames = [...document.querySelectorAll("#frames figure")];
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const PACE = 900; // ms a round
  let place = 0, timer = 0, all = false;

  const show = to => {
    place = Math.min(frames.length - 1, Math.max(0, to));
    frames.forEach((frame, at) => { frame.hidden = !all && at !== place; });
    const said = frames[place].querySelector("figcaption span");
    part("now").textContent = all ? `All ${frames.length} rounds` : `${frames[place].dataset.title}${said ? `: ${said.textContent}` : ""} (${place + 1} of ${frames.length})`;
    part("place").value = place;
    part("place").setAttribute("aria-valuetext", frames[place].dataset.title);
  };
  const stop = () => {
    clearInterval(timer);
    timer = 0;
    part("play").textContent = "Play";
    part("play").setAttribute("aria-pressed", "false");
    part("now").setAttribute("aria-live", "polite");
  };
  const play = () => {
    if (place === frames.length - 1) show(0);
    part("play").textContent = "Pause";
    part("play").setAttribute("aria-pressed", "true");
    part("now").setAttribute("aria-live", "off");
    timer = setInterval(() => {
      show(place + 1);
      if (place === frames.length - 1) stop();
    }, PACE);
  };
  const one = to => {
    stop();
    all = false;
    part("all").setAttribute("aria-pressed", "false");
    show(to);
  };
  const calm = () => {
    if (still.matches) stop();
    part("play").hidden = still.matches;
    part("still").hidden = !still.matches;
  };

  part("play").addEventListener("click", () => {
    if (timer) { stop(); return; }
    one(place);
    play();
  });
  part("back").addEventListener("click", () => one(place - 1));
  part("next").addEventListener("click", () => one(place + 1));
  part("place").addEventListener("input", () => one(Number(part("place").value)));
  part("all").addEventListener("click", () => {
    stop();
    all = !all;
    part("all").setAttribute("aria-pressed", String(all));
    show(place);
  });
  player.addEventListener("keydown", event => {
    const moves = { ArrowLeft: place - 1, ArrowRight: place + 1, Home: 0, End: frames.length - 1 };
    if (!(event.key in moves) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    one(moves[event.key]);
  });
  still.addEventListener("change", calm);
  calm();
  player.hidden = false;
  show(0);
})();
