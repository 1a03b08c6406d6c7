/* Bring `old` to what `fresh` is without replacing what did not change: focus, scroll and open details stay.
   Nodes are the same if they have the same id, or none and the same tag; a moved node would lose its focus.
   What has `data-own` is drawn by a script, and left alone. */
export function morph(old, fresh) {
  if (old.dataset && "own" in old.dataset) return;
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
  if (old.id === "live") return;
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
}
