/* Walks the map by arrow keys and follows the mouse. A cell on canvas is no element: a real link lies over the one that
   is meant, so that Enter, the middle button and the menu do what they do on any link. Two links take turns under the
   keyboard, because a screen reader says a link anew only when the focus moves to it. */
import { labelOf } from "./nodes.js";

export class Walker {
  #links = [];
  #turn = 0;
  #at = 0;
  #nodes = [];
  #asTiles = true;

  constructor(section, board, show) {
    this.board = board;
    this.show = show;
    this.#links = [0, 1].map(() => this.#newLink());
    this.hover = this.#newLink();
    board.after(...this.#links, this.hover);
    this.hover.tabIndex = -1;
    this.hover.classList.add("hover");
    this.hover.ariaHidden = "true";
    section.addEventListener("keydown", (event) => this.#press(event));
    section.addEventListener("focusin", (event) => this.#focused(event.target));
    board.addEventListener("pointermove", (event) => this.#point(event));
    board.addEventListener("pointerdown", (event) => this.#point(event));
    section.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && this.#leave());
    section.addEventListener("focusout", (event) => {
      if (!section.contains(event.relatedTarget)) this.#leave();
    });
  }

  #newLink() {
    const link = document.createElement("a");
    link.className = "walker";
    link.hidden = true;
    return link;
  }

  /* Take what is drawn now. The keyboard stays at its node when that is still there. */
  take(groups, asTiles) {
    const before = this.#nodes[this.#at]?.name;
    this.#nodes = groups.flatMap((group) => group.nodes);
    this.#asTiles = asTiles;
    this.#at = Math.max(0, this.#nodes.findIndex((node) => node.name === before));
    this.hover.hidden = true;
    const walks = this.#links.some((link) => link === document.activeElement);
    for (const link of this.#links) link.hidden = true;
    if (!asTiles && this.#nodes.length) this.#rest(walks);
  }

  /* Say anew what the keyboard is at, when that changed. */
  told(changed) {
    const node = this.#nodes[this.#at];
    const link = this.#links[this.#turn];
    if (this.#asTiles || link.hidden || !changed.has(node)) return;
    link.ariaLabel = labelOf(node);
    if (link === document.activeElement) this.show(node, link.getBoundingClientRect());
  }

  enter() {
    this.#go(this.#at);
  }

  nextIll() {
    const after = [...this.#nodes.keys()].map((step) => (this.#at + 1 + step) % this.#nodes.length);
    const found = after.find((at) => this.#nodes[at].health !== "o");
    if (found !== undefined) this.#go(found);
  }

  /* The one stop of the tab key lies over the node where the keyboard was last. */
  #rest(focused) {
    const link = this.#links[this.#turn];
    this.#lay(link, this.#nodes[this.#at]);
    if (focused) link.focus({ preventScroll: true });
  }

  #go(at) {
    if (!this.#nodes[at]) return;
    this.#at = at;
    const node = this.#nodes[at];
    if (this.#asTiles) {
      node.group.tiles.get(node.name).firstChild.focus();
      return;
    }
    const left = this.#links[this.#turn];
    this.#turn = 1 - this.#turn;
    const link = this.#links[this.#turn];
    this.#lay(link, node);
    link.focus({ preventScroll: true });
    link.scrollIntoView({ block: "nearest" });
    left.hidden = true;
    this.show(node, link.getBoundingClientRect());
  }

  #lay(link, node) {
    const { group } = node;
    const at = group.nodes.indexOf(node);
    const room = this.board.parentElement.getBoundingClientRect();
    const box = group.body.getBoundingClientRect();
    link.hidden = false;
    link.href = `/nodes/${encodeURIComponent(node.name)}`;
    link.ariaLabel = labelOf(node);
    link.style.left = `${box.left - room.left + (at % group.columns) * group.pitch}px`;
    link.style.top = `${box.top - room.top + Math.floor(at / group.columns) * group.pitch}px`;
    link.style.width = link.style.height = `${group.pitch}px`;
  }

  #focused(target) {
    const tile = target.closest?.("[id^='tile-']");
    if (tile) this.#at = Math.max(0, this.#nodes.findIndex((node) => `tile-${node.name}` === tile.id));
  }

  #press(event) {
    const walks = this.#links.includes(event.target) || event.target.closest(".tile");
    if (!walks || event.ctrlKey || event.metaKey || event.altKey) return;
    const last = this.#nodes.length - 1;
    const steps = {
      ArrowLeft: () => this.#at - 1,
      ArrowRight: () => this.#at + 1,
      ArrowUp: () => this.#at - this.#columns(),
      ArrowDown: () => this.#at + this.#columns(),
      Home: () => 0,
      End: () => last,
    };
    if (!Object.hasOwn(steps, event.key)) return;
    event.preventDefault();
    this.#go(Math.min(last, Math.max(0, steps[event.key]())));
  }

  #columns() {
    const { group } = this.#nodes[this.#at];
    if (!this.#asTiles) return Math.min(group.columns, group.nodes.length);
    const tops = [...group.body.children].map((tile) => tile.offsetTop);
    return tops.filter((top) => top === tops[0]).length;
  }

  #point(event) {
    const group = event.target.closest(".group")?.group;
    if (!group || group.asTiles || event.target !== group.body) return;
    const column = Math.floor(event.offsetX / group.pitch);
    const node = group.nodes[Math.floor(event.offsetY / group.pitch) * group.columns + column];
    if (!node || column >= group.columns) return this.#leave();
    if (event.pointerType === "mouse") this.#lay(this.hover, node);
    this.show(node, { left: event.clientX, bottom: event.clientY + 6 });
  }

  #leave() {
    this.hover.hidden = true;
    if (!this.#links.includes(document.activeElement)) this.show(null);
  }
}
