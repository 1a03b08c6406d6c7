/* The fleet map: groups of nodes by place. Few nodes are tiles with words, many are cells on canvas; both are links. */
import { drawCell, penFor, readColours } from "./cells.js";
import { Fleet, KINDS, counts, grouped, healthOf, labelOf, narrowed, placesOf } from "./nodes.js";
import { Walker } from "./walker.js";

const MOST_TILES = 150;
const MANY_NODES = 2000;
const MOST_GROUPS = 100;
const LEVEL_MS = 60000;
const SHAPES = { f: "■", d: "▲", u: "?", o: "●" };
const TONES = { f: "failed", d: "degraded", u: "unknown", o: "ok" };

const section = document.getElementById("map");
const board = document.getElementById("map-groups");
const said = document.getElementById("map-said");
const groupBy = document.getElementById("map-group");
const find = document.getElementById("map-find");
const card = document.getElementById("map-card");
const fleet = new Fleet();
const walker = new Walker(section, board, showCard);
const asked = new URLSearchParams(location.search);
const only = section.dataset.health;

let groups = [];
let dirty = new Set();
let all = true;
let drawing = false;
let fetchedAt = 0;
let again = null;

const near = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    const group = target.group;
    group.near = isIntersecting;
    if (isIntersecting && group.stale) drawGroup(group);
  }
}, { rootMargin: "400px" });

async function fetchMap() {
  clearTimeout(again);
  again = null;
  fetchedAt = performance.now();
  if (await fleet.fetch()) {
    chooseGrouping();
    draw(null);
  } else fetchSoon();
}

/* Fetch all anew, yet not more often than a busy fleet allows. */
function fetchSoon() {
  again ??= setTimeout(fetchMap, Math.max(0, fetchedAt + 3000 - performance.now()) + Math.random() * 300);
}

function draw(changed) {
  if (changed === null) all = true;
  else for (const node of changed) dirty.add(node);
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    if (all || only || find.value.trim()) layOut();
    else drawChanged();
    dirty = new Set();
    all = false;
    document.dispatchEvent(new CustomEvent("fleetmend:drawn", { detail: { id: fleet.eventId } }));
  });
}

function drawChanged() {
  const touched = new Map();
  for (const node of dirty) if (node.group) touched.set(node.group, [...(touched.get(node.group) ?? []), node]);
  walker.told(dirty);
  for (const [group, nodes] of touched) {
    tellGroup(group);
    if (group.asTiles) for (const node of nodes) fillTile(group.tiles.get(node.name), node);
    else if (group.near && !group.stale) for (const node of nodes) redraw(group, node);
    else group.stale = true;
  }
  tellCounts(groups.flatMap((group) => group.nodes));
}

function layOut() {
  const shown = narrowed(fleet.nodes, only, find.value);
  const asTiles = shown.length <= MOST_TILES;
  const pitch = shown.length > MANY_NODES && !matchMedia("(pointer: coarse)").matches ? 12 : 17;
  const kept = new Map(groups.map((group) => [group.key, group]));
  for (const node of fleet.nodes) node.group = null;
  groups = grouped(shown, groupBy.value).map(([name, nodes]) => {
    const key = `${asTiles} ${groupBy.value} ${name}`;
    const group = kept.get(key) ?? newGroup(key, name, asTiles);
    kept.delete(key);
    for (const node of nodes) node.group = group;
    return Object.assign(group, { nodes, pitch });
  });
  for (const { element } of kept.values()) {
    near.unobserve(element);
    element.remove();
  }
  groups.forEach(({ element }, at) => {
    if (board.children[at] !== element) board.insertBefore(element, board.children[at] ?? null);
  });
  board.classList.toggle("plain", !groupBy.value);
  board.classList.toggle("as-tiles", asTiles);
  groups.forEach(fillGroup);
  tellCounts(shown);
  walker.take(groups, asTiles);
}

function newGroup(key, name, asTiles) {
  const element = document.createElement("div");
  element.className = "group";
  element.role = "group";
  const title = document.createElement("h3");
  const body = document.createElement(asTiles ? "ul" : "canvas");
  if (asTiles) body.className = "map";
  else body.ariaHidden = "true";
  element.append(title, body);
  const group = { key, name, element, title, body, asTiles, nodes: [], near: asTiles, stale: true, tiles: new Map() };
  element.group = group;
  if (!asTiles) near.observe(element);
  return group;
}

function fillGroup(group) {
  group.stale = true;
  tellGroup(group);
  if (group.asTiles) fillTiles(group);
  else {
    measure(group);
    if (group.near) drawGroup(group);
  }
}

function tellGroup(group) {
  const found = counts(group.nodes);
  const told = JSON.stringify([found, groupBy.value]);
  if (group.told === told) return;
  group.told = told;
  const name = group.name || (groupBy.value ? `no ${groupBy.value}` : "");
  const ill = ["f", "d", "u"].filter((letter) => found[letter]);
  const words = [...ill, "o"].filter((letter) => found[letter]).map((letter) => `${found[letter]} ${TONES[letter]}`);
  group.element.ariaLabel = `${groupBy.value} ${name}: ${words.join(", ")}`.trim();
  const parts = ill.map((letter) => badge(letter, found[letter]));
  const label = document.createElement("span");
  label.className = "place";
  label.textContent = name;
  label.title = `${groupBy.value} ${name}, ${group.nodes.length} nodes`;
  group.title.replaceChildren(label, ...parts);
  group.title.hidden = !groupBy.value;
  group.element.className = `group tone-${TONES[ill[0] ?? "o"]}${ill.length ? " ill" : ""}`;
}

function badge(letter, count) {
  const element = document.createElement("span");
  element.className = `tally tone-${TONES[letter]}`;
  element.textContent = `${SHAPES[letter]}${count}`;
  return element;
}

function measure(group) {
  const width = groupBy.value && group.nodes.length <= 64 ? 8 * group.pitch : groupBy.value && group.nodes.length <= 400 ? 16 * group.pitch : board.clientWidth - 26;
  group.columns = Math.max(1, Math.floor(Math.min(width, board.clientWidth - 26) / group.pitch));
  group.rows = Math.ceil(group.nodes.length / group.columns);
  group.body.style.width = `${group.columns * group.pitch}px`;
  group.body.style.height = `${group.rows * group.pitch}px`;
}

function drawGroup(group) {
  const { pitch, columns, rows } = group;
  const pen = penFor(group.body, columns * pitch, rows * pitch);
  group.pen = pen;
  group.nodes.forEach((node, at) => {
    node.at = at;
    drawCell(pen, node, (at % columns) * pitch + 1.5, Math.floor(at / columns) * pitch + 1.5, pitch - 3);
  });
  group.stale = false;
}

function redraw({ pen, pitch, columns }, node) {
  const [x, y] = [(node.at % columns) * pitch, Math.floor(node.at / columns) * pitch];
  pen.clearRect(x, y, pitch, pitch);
  drawCell(pen, node, x + 1.5, y + 1.5, pitch - 3);
}

function fillTiles(group) {
  const gone = new Set(group.tiles.keys());
  group.nodes.forEach((node, at) => {
    gone.delete(node.name);
    if (!group.tiles.has(node.name)) group.tiles.set(node.name, newTile(node));
    const tile = group.tiles.get(node.name);
    fillTile(tile, node);
    if (group.body.children[at] !== tile) group.body.insertBefore(tile, group.body.children[at] ?? null);
  });
  for (const name of gone) {
    group.tiles.get(name).remove();
    group.tiles.delete(name);
  }
}

function newTile(node) {
  const tile = document.createElement("li");
  tile.id = `tile-${node.name}`;
  const link = document.createElement("a");
  link.href = hrefOf(node);
  for (const name of ["shape", "tile-name", "doing"]) {
    const part = document.createElement("span");
    part.className = name;
    link.append(part);
  }
  link.children[0].ariaHidden = "true";
  tile.append(link);
  return tile;
}

function fillTile(tile, node) {
  const link = tile.firstChild;
  const [shape, name, doing] = link.children;
  link.className = `tile tone-${healthOf(node)}${node.held ? " held" : ""}${node.paused ? " paused" : ""}`;
  link.ariaLabel = labelOf(node);
  shape.textContent = SHAPES[node.health];
  name.textContent = node.name;
  doing.textContent = [node.doing || healthOf(node), node.paused ? "‖ paused" : ""].filter(Boolean).join(" · ");
}

export function hrefOf(node) {
  return `/nodes/${encodeURIComponent(node.name)}`;
}

function tellCounts(shown) {
  const found = counts(shown);
  const ill = ["f", "d", "u"].filter((letter) => found[letter]).map((letter) => `${found[letter]} ${TONES[letter]}`);
  const places = groupBy.value ? ` in ${groups.length} ${groups.length === 1 ? "group" : "groups"} by ${groupBy.value}` : "";
  document.getElementById("map-count").textContent = fleet.nodes.length.toLocaleString("en");
  const words = find.value.trim();
  if (!fleet.nodes.length) tell("No node has been heard yet. An agent reports within a minute of its start.");
  else if (shown.length) tell(`${shown.length.toLocaleString("en")} shown${places}: ${ill.join(", ") || "all ok"}`);
  else tell(`No node${only ? ` is ${only}` : ""}${words ? `${only ? " and" : ""} has “${words}”` : ""}.`);
}

function tell(text) {
  if (said.textContent !== text) said.textContent = text;
}

function showCard(node, box) {
  card.hidden = !node;
  if (!node) return;
  const link = document.createElement("a");
  link.href = hrefOf(node);
  link.tabIndex = -1;
  link.textContent = node.name;
  const lines = [`${SHAPES[node.health]} ${healthOf(node)}${node.held ? ", held out by fleetmend" : ""}${node.paused ? ", paused" : ""}`, node.doing, placesOf(node)];
  card.replaceChildren(link, ...lines.filter(Boolean).map((text) => Object.assign(document.createElement("div"), { textContent: text })));
  card.className = `map-card tone-${healthOf(node)}`;
  const room = section.getBoundingClientRect();
  card.style.left = `${Math.max(0, Math.min(box.left - room.left, room.width - card.offsetWidth))}px`;
  card.style.top = `${box.bottom - room.top + 8}px`;
}

/* The kind of place that makes groups to be taken in at a glance: racks, unless there are too many of them. */
function chooseGrouping() {
  const size = (kind) => new Set(fleet.nodes.map((node) => node.places[kind].join())).size;
  for (const option of groupBy.options) option.disabled = KINDS.includes(option.value) && !fleet.nodes.some((node) => node.places[option.value].length);
  if (groupBy.dataset.by) return;
  const fits = (kind) => size(kind) > 1 && size(kind) <= MOST_GROUPS;
  groupBy.value = ["rack", "leaf", "pool", "site"].find(fits) ?? "";
  groupBy.dataset.by = "size";
}

function remember() {
  const url = new URL(location.href);
  for (const [name, value] of [["group", groupBy.dataset.by === "person" ? groupBy.value : ""], ["find", find.value.trim()]]) {
    if (value) url.searchParams.set(name, value);
    else url.searchParams.delete(name);
  }
  history.replaceState(null, "", url);
}

/* What a person asked for is said aloud; what the stream tells is not, or a storm would talk without end. */
function narrow() {
  said.ariaLive = "polite";
  remember();
  draw(null);
}

function drawLegend() {
  for (const canvas of section.querySelectorAll("canvas[data-looks]")) {
    const pen = penFor(canvas, 17, 17);
    drawCell(pen, JSON.parse(canvas.dataset.looks), 1.5, 1.5, 14);
  }
}

function recolour() {
  readColours();
  drawLegend();
  draw(null);
}

if (asked.has("group")) {
  groupBy.value = asked.get("group");
  groupBy.dataset.by = "person";
}
find.value = asked.get("find") ?? "";
groupBy.addEventListener("change", () => {
  groupBy.dataset.by = "person";
  narrow();
});
find.addEventListener("input", narrow);
document.addEventListener("fleetmend:change", ({ detail }) => {
  said.ariaLive = "off";
  const changed = fleet.apply(detail);
  if (changed === null) fetchSoon();
  else draw(changed);
});
document.addEventListener("fleetmend:reset", fetchSoon);
document.addEventListener("fleetmend:walk", ({ detail }) => (detail === "map" ? walker.enter() : walker.nextIll()));
addEventListener("fleetmend:theme", recolour);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
let width = board.clientWidth;
addEventListener("resize", () => {
  if (board.clientWidth === width) return;
  width = board.clientWidth;
  draw(null);
});
setInterval(() => !document.hidden && fetchSoon(), LEVEL_MS);
readColours();
drawLegend();
fetchMap();
