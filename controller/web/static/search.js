/* The search in the page's head: asks while a person types, arrows choose, Enter opens. */
const SETTLE_MS = 120;
const SHAPES = { ok: "●", degraded: "▲", failed: "■", unknown: "?" };

const input = document.getElementById("search-for");
const list = document.getElementById("search-found");
const said = document.getElementById("search-said");
let chosen = -1;
let settling = null;
let asking = null;

async function ask() {
  const words = input.value.trim();
  asking?.abort();
  if (!words) return close();
  asking = new AbortController();
  try {
    const answer = await fetch(`/api/v1/search?q=${encodeURIComponent(words)}`, { signal: asking.signal });
    if (!answer.ok) throw new Error((await answer.json()).error);
    show(await answer.json(), words);
  } catch (error) {
    if (error.name !== "AbortError") note("The controller does not answer");
  }
}

function show(found, words) {
  if (!found.length) return note(`Nothing is called “${words}”`);
  list.replaceChildren(...found.map(entry));
  open();
  choose(0);
  said.textContent = found.length === 1 ? "one found" : `${found.length} found`;
}

function entry({ kind, name, about, state, url }, index) {
  const item = document.createElement("li");
  item.id = `found-${index}`;
  item.role = "option";
  const link = document.createElement("a");
  link.href = url;
  link.tabIndex = -1;
  const tone = { ok: "ok", returned: "ok", recovered: "ok", degraded: "degraded", waiting: "degraded", failed: "failed" };
  link.className = `tone-${tone[state] ?? "unknown"}`;
  link.append(part("shape", SHAPES[state] ?? "◆"), part("", name), part("kind quiet", `${kind}, ${state.replaceAll("_", " ")}`));
  if (about) link.append(part("about quiet", about));
  link.firstChild.ariaHidden = "true";
  item.append(link);
  return item;
}

function part(name, text) {
  const element = document.createElement("span");
  element.className = name;
  element.textContent = text;
  return element;
}

function note(text) {
  const item = document.createElement("li");
  item.className = "none";
  item.textContent = text;
  list.replaceChildren(item);
  chosen = -1;
  input.removeAttribute("aria-activedescendant");
  open();
  said.textContent = text;
}

function open() {
  list.hidden = false;
  input.ariaExpanded = "true";
}

function close() {
  list.hidden = true;
  chosen = -1;
  input.ariaExpanded = "false";
  input.removeAttribute("aria-activedescendant");
  said.textContent = "";
}

function choose(index) {
  const options = list.querySelectorAll("[role=option]");
  if (!options.length) return;
  chosen = (index + options.length) % options.length;
  options.forEach((option, at) => option.setAttribute("aria-selected", String(at === chosen)));
  options[chosen].scrollIntoView({ block: "nearest" });
  input.setAttribute("aria-activedescendant", options[chosen].id);
}

async function go() {
  clearTimeout(settling);
  if (settling !== null || list.hidden) await ask();
  settling = null;
  const link = list.querySelectorAll("[role=option] a")[Math.max(0, chosen)];
  if (link) location.assign(link.href);
}

function press(event) {
  const steps = { ArrowDown: 1, ArrowUp: -1 };
  if (event.key in steps && !list.hidden) choose(chosen + steps[event.key]);
  else if (event.key === "Escape" && !list.hidden) close();
  else if (event.key === "Escape") input.blur();
  else return;
  event.preventDefault();
}

export function offerSearch() {
  input.addEventListener("input", () => {
    clearTimeout(settling);
    settling = setTimeout(() => {
      settling = null;
      ask();
    }, SETTLE_MS);
  });
  input.addEventListener("keydown", press);
  input.addEventListener("focus", () => input.value.trim() && list.children.length && open());
  document.getElementById("search").addEventListener("submit", (event) => {
    event.preventDefault();
    go();
  });
  document.addEventListener("pointerdown", (event) => {
    if (!event.target.closest("#search")) close();
  });
}
