/* Keeps a page fresh. The controller tells what changed; the page then asks for its live part anew, if it is about that.
   Where no stream comes through, the page asks every two seconds; where nothing does, it says so plainly. */
import { signIn } from "./account.js";
import { morph } from "./morph.js";

const ASK_MS = 2000;
const LEVEL_MS = 30000;
const SILENCE_MS = 25000;
const AGAIN_MS = 5000;

export const live = document.getElementById("live");
const freshness = document.getElementById("freshness");
const announcement = document.getElementById("lost");
const isLive = live.dataset.live === "true";
const about = { node: live.dataset.node ?? "", incident: live.dataset.incident ?? "" };
const GAP_MS = about.node || about.incident ? 300 : 1000;

let known = live.dataset.since;
let stream = null;
let heardAt = 0;
let lostSince = null;
let askedAt = 0;
let waiting = null;

/* Ask for the live part and show it. */
export async function refresh() {
  askedAt = performance.now();
  const url = new URL(location.href);
  url.searchParams.set("part", "live");
  const answer = await fetch(url, { headers: { Accept: "text/html" }, signal: AbortSignal.timeout(5000) });
  if (answer.status === 401) signIn();
  if (!answer.ok) throw new Error(`the controller answered ${answer.status}`);
  const fresh = document.createElement("template");
  fresh.innerHTML = `<main>${await answer.text()}</main>`;
  morph(live, fresh.content.firstChild);
  tellAges();
  sayFresh();
  if (Number(answer.headers.get("X-Fleetmend-Event")) < Number(known)) askSoon();
}

function clock() {
  return new Date().toISOString().slice(11, 19);
}

function sayFresh() {
  lostSince = null;
  say(`${isStreaming() ? "live, " : ""}as of ${clock()} UTC`, false);
}

function sayLost() {
  lostSince ??= clock();
  say(`No answer from the controller since ${lostSince} UTC: what you see may be old`, true);
}

function say(text, lost) {
  document.body.classList.toggle("stale", lost);
  document.body.classList.toggle("streaming", !lost && isStreaming());
  freshness.textContent = text;
  const announced = lost ? text : "";
  if (announcement.textContent !== announced) announcement.textContent = announced;
}

function isStreaming() {
  return stream !== null && stream.readyState === EventSource.OPEN && heardAt > 0;
}

/* Ask soon, however often this is called: at once when the last time is long ago. */
function askSoon() {
  if (waiting !== null || document.hidden) return;
  const wait = Math.max(0, askedAt + GAP_MS - performance.now());
  waiting = setTimeout(async () => {
    waiting = null;
    await refresh().catch(sayLost);
  }, wait);
}

function listen() {
  const url = known ? `/api/v1/live?since=${encodeURIComponent(known)}` : "/api/v1/live";
  stream = new EventSource(url);
  stream.addEventListener("change", heard((said) => {
    if (concerns(said)) askSoon();
    document.dispatchEvent(new CustomEvent("fleetmend:change", { detail: said }));
  }));
  stream.addEventListener("reset", heard(() => {
    askSoon();
    document.dispatchEvent(new CustomEvent("fleetmend:reset"));
  }));
  stream.addEventListener("beat", heard(() => {
    if (lostSince !== null) askSoon();
  }));
  stream.addEventListener("error", () => {
    heardAt = 0;
    if (document.visibilityState === "visible") refresh().catch(sayLost);
  });
}

function heard(take) {
  return (event) => {
    heardAt = performance.now();
    known = event.lastEventId || known;
    const said = JSON.parse(event.data);
    said.id = Number(event.lastEventId);
    if (lostSince === null) sayFresh();
    take(said);
  };
}

function concerns({ nodes, incidents, moved }) {
  if (!about.node && !about.incident) return true;
  return moved || incidents.includes(about.incident) || nodes.some((row) => row[0] === about.node);
}

function stop() {
  if (stream !== null) stream.close();
  stream = null;
  heardAt = 0;
}

/* Look whether the stream still speaks; ask for what it does not tell, and for everything where there is none. */
function watch() {
  if (document.hidden) return;
  const now = performance.now();
  if (heardAt && now - heardAt > SILENCE_MS) stop();
  if ((stream === null || stream.readyState === EventSource.CLOSED) && now - openedAt > AGAIN_MS) open();
  const every = isStreaming() && !live.querySelector("[data-moving]") ? LEVEL_MS : ASK_MS;
  if (now - askedAt >= every) refresh().catch(sayLost);
}

let openedAt = 0;

function open() {
  openedAt = performance.now();
  stop();
  listen();
}

/* What the page says of how long ago something was goes on between two answers. */
function tellAges() {
  for (const time of live.querySelectorAll("time[data-ago]")) {
    const said = `${duration((Date.now() - Date.parse(time.dateTime)) / 1000 - ahead)} ago`;
    if (time.textContent !== said) time.textContent = said;
  }
}

const ahead = (Date.now() - Date.parse(live.dataset.at)) / 1000 || 0;

export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const [minutes, hours, days] = [60, 3600, 86400].map((unit) => Math.floor(whole / unit));
  if (whole < 90) return `${whole} s`;
  if (minutes < 90) return `${minutes} min`;
  if (hours < 48) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  return hours % 24 ? `${days} d ${hours % 24} h` : `${days} d`;
}

export function keepFresh() {
  if (!isLive) return;
  askedAt = performance.now();
  if (!document.hidden) open();
  setInterval(watch, 500);
  setInterval(tellAges, 1000);
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      stop();
      return;
    }
    open();
    refresh().catch(sayLost);
  });
  addEventListener("pagehide", stop);
  addEventListener("pageshow", (event) => {
    if (event.persisted) open();
  });
}
