/* Keyboard shortcuts: single keys, never while a person types or a dialog is open, and never with a modifier. */
const help = document.getElementById("help");
const search = document.getElementById("search-for");
const WITHIN_MS = 1500;
let goingSince = -WITHIN_MS;

const KEYS = {
  "/": () => {
    search.focus();
    search.select();
  },
  "?": () => help.showModal(),
  t: () => document.getElementById("theme").click(),
  m: () => document.dispatchEvent(new CustomEvent("fleetmend:walk", { detail: "map" })),
  n: () => document.dispatchEvent(new CustomEvent("fleetmend:walk", { detail: "next" })),
};

function typing(target) {
  return target.closest("input, select, textarea, [contenteditable], dialog[open]") !== null;
}

function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || typing(event.target)) return;
  if (document.querySelector("dialog[open]")) return;
  const going = event.timeStamp - goingSince < WITHIN_MS;
  goingSince = -WITHIN_MS;
  const link = going && /^[a-z]$/.test(event.key) && document.querySelector(`.nav a[data-key="${event.key}"]`);
  if (link) link.click();
  else if (event.key === "g") goingSince = event.timeStamp;
  else if (Object.hasOwn(KEYS, event.key)) KEYS[event.key]();
  else return;
  event.preventDefault();
}

export function offerKeys() {
  document.addEventListener("keydown", press);
  document.getElementById("help-open").addEventListener("click", () => help.showModal());
}
