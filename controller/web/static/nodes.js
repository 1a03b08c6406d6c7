/* The fleet as the map knows it: every node with its health and places, fetched once and kept up by the stream. */
const LETTERS = { o: "ok", d: "degraded", f: "failed", u: "unknown" };
export const KINDS = ["site", "pool", "rack", "leaf"];

export class Fleet {
  nodes = [];
  byName = new Map();
  eventId = 0;
  #early = [];
  #fetching = false;

  /* Fetch all of it. Returns whether it came; what is told meanwhile is not lost. */
  async fetch() {
    if (this.#fetching) return false;
    this.#fetching = true;
    try {
      const answer = await fetch("/api/v1/map", { signal: AbortSignal.timeout(20000) });
      if (!answer.ok) return false;
      this.#take(await answer.json());
      return true;
    } catch {
      return false;
    } finally {
      this.#fetching = false;
    }
  }

  #take(map) {
    this.eventId = map.event_id;
    this.nodes = map.nodes.map((name, index) => ({ name, index, health: map.health[index], held: false, paused: false, doing: "", places: {} }));
    for (const index of map.held) this.nodes[index].held = true;
    for (const index of map.paused) this.nodes[index].paused = true;
    for (const [words, indices] of Object.entries(map.doing)) for (const index of indices) this.nodes[index].doing = words;
    for (const kind of KINDS) {
      const { sets, of } = map.places[kind];
      this.nodes.forEach((node, index) => (node.places[kind] = sets[of[index]]));
    }
    this.byName = new Map(this.nodes.map((node) => [node.name, node]));
    const early = this.#early.filter(({ id }) => id > map.event_id);
    this.#early = [];
    for (const said of early) this.apply(said);
  }

  /* Take what the stream told; return the nodes that it changed, null when the whole map must be fetched anew. */
  apply(said) {
    if (this.#fetching || !this.byName.size) this.#early.push(said);
    if (said.moved || said.nodes.some(([name]) => !this.byName.has(name))) return null;
    this.eventId = Math.max(this.eventId, said.id);
    return said.nodes.map(([name, health, held, paused, doing]) =>
      Object.assign(this.byName.get(name), { health, held: held === 1, paused: paused === 1, doing }));
  }
}

export function healthOf(node) {
  return LETTERS[node.health];
}

/* What a screen reader says of a node, and what its tile is called. */
export function labelOf(node) {
  return [node.name, healthOf(node), node.doing, node.paused ? "paused" : ""].filter(Boolean).join(", ");
}

export function placesOf(node) {
  return KINDS.filter((kind) => node.places[kind].length).map((kind) => `${kind} ${briefly(node.places[kind])}`).join(" · ");
}

export function briefly(names) {
  return names.length < 3 ? names.join(", ") : `${names[0]} … ${names.at(-1)}`;
}

/* Return the nodes by place, [name, nodes] in the order of names; what stands nowhere comes last, under an empty name. */
export function grouped(nodes, kind) {
  if (!kind) return nodes.length ? [["", nodes]] : [];
  const groups = new Map();
  for (const node of nodes) {
    const name = briefly(node.places[kind]);
    if (!groups.has(name)) groups.set(name, []);
    groups.get(name).push(node);
  }
  const order = new Intl.Collator("en", { numeric: true }).compare;
  return [...groups].sort(([one], [other]) => (one === "") - (other === "") || order(one, other));
}

export function counts(nodes) {
  const found = { f: 0, d: 0, u: 0, o: 0 };
  for (const node of nodes) found[node.health] += 1;
  return found;
}

/* Return those of one health that have every word somewhere in their name, places or what is done about them. */
export function narrowed(nodes, health, words) {
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  if (!health && !wanted.length) return nodes;
  return nodes.filter((node) => {
    if (health && healthOf(node) !== health) return false;
    if (!wanted.length) return true;
    const text = [node.name, node.doing, node.held ? "held out" : "", node.paused ? "paused" : "", ...KINDS.flatMap((kind) => node.places[kind])];
    const said = text.join(" ").toLowerCase();
    return wanted.every((word) => said.includes(word));
  });
}
