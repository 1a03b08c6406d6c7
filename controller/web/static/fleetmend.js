const REFRESH_MS = 2000;
const live = document.getElementById("live");
const freshness = document.getElementById("freshness");
const announcement = document.getElementById("lost");

/* Bring `old` to what `fresh` is without replacing what did not change: focus, scroll and open details stay.
   Nodes are the same if they have the same id, or none and the same tag; a moved node would lose its focus. */
function morph(old, fresh) {
  syncAttributes(old, fresh);
  const wanted = new Set([...fresh.children].map((child) => child.id));
  for (const child of [...old.children]) if (child.id && !wanted.has(child.id)) child.remove();
  let at = old.firstChild;
  for (const next of [...fresh.childNodes]) {
    const match = matching(at, next);
    if (match === null) {
      old.insertBefore(next, at);
      continue;
    }
    while (at !== match && !at.id) at = removed(at);
    if (at === match) at = at.nextSibling;
    else old.insertBefore(match, at);
    if (match.nodeType === Node.ELEMENT_NODE) morph(match, next);
    else if (match.data !== next.data) match.data = next.data;
  }
  while (at) at = removed(at);
}

function matching(at, next) {
  if (next.nodeType !== Node.ELEMENT_NODE) return at && at.nodeType === next.nodeType ? at : null;
  for (let node = at; node; node = node.nextSibling) {
    if (node.nodeName === next.nodeName && node.id === next.id) return node;
  }
  return null;
}

function removed(node) {
  const following = node.nextSibling;
  node.remove();
  return following;
}

function syncAttributes(old, fresh) {
  if (old === live) return;
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
}

async function refresh() {
  const url = new URL(location.href);
  url.searchParams.set("part", "live");
  const answer = await fetch(url, { headers: { Accept: "text/html" }, signal: AbortSignal.timeout(5000) });
  if (!answer.ok) throw new Error(`the controller answered ${answer.status}`);
  const fresh = document.createElement("template");
  fresh.innerHTML = `<main>${await answer.text()}</main>`;
  morph(live, fresh.content.firstChild);
  say(`as of ${new Date().toISOString().slice(11, 19)} UTC`, false);
}

let lostSince = null;

function say(text, lost) {
  if (!lost) lostSince = null;
  document.body.classList.toggle("stale", lost);
  freshness.textContent = text;
  const announced = lost ? text : "";
  if (announcement.textContent !== announced) announcement.textContent = announced;
}

async function keepFresh() {
  if (!document.hidden) {
    try {
      await refresh();
    } catch {
      lostSince ??= new Date().toISOString().slice(11, 19);
      say(`No answer from the controller since ${lostSince} UTC: what you see may be old`, true);
    }
  }
  setTimeout(keepFresh, REFRESH_MS);
}

const dialog = document.getElementById("act");
const because = document.getElementById("act-because");
const failure = document.getElementById("act-failure");
const confirmButton = document.getElementById("act-do");
let asked = null;

function ask(button) {
  asked = { url: button.dataset.url, body: JSON.parse(button.dataset.body) };
  document.getElementById("act-title").textContent = button.dataset.title;
  document.getElementById("act-text").textContent = button.dataset.text;
  confirmButton.textContent = button.textContent;
  because.value = "";
  failure.hidden = true;
  dialog.showModal();
}

async function act() {
  const answer = await fetch(asked.url, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ ...asked.body, because: because.value }),
  });
  if (answer.ok) return;
  const { error, hint } = await answer.json();
  throw new Error(`${error} (${hint})`);
}

live.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-act]");
  if (button) ask(button);
});

document.getElementById("act-cancel").addEventListener("click", () => dialog.close());

dialog.querySelector("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  confirmButton.disabled = true;
  try {
    await act();
    dialog.close();
    await refresh();
  } catch (error) {
    failure.textContent = error.message;
    failure.hidden = false;
  } finally {
    confirmButton.disabled = false;
  }
});

if (live.dataset.live === "true") setTimeout(keepFresh, REFRESH_MS);
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && live.dataset.live === "true") refresh().catch(() => {});
});
