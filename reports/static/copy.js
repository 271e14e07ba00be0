// One button that copies the command; where the browser refuses, the text is selected for the reader to copy.
(() => {
  "use strict";
  const button = document.getElementById("copy"), command = document.getElementById("command");
  const said = document.getElementById("copied");
  const select = () => {
    getSelection().selectAllChildren(command);
    said.textContent = document.execCommand("copy") ? "Copied." : "Selected: copy it with Ctrl+C.";
  };
  button.addEventListener("click", () => {
    said.textContent = "";
    if (!navigator.clipboard) { select(); return; }
    navigator.clipboard.writeText(command.textContent).then(() => { said.textContent = "Copied."; }, select);
  });
  button.hidden = false;
})();
