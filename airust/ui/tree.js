// A conversation is a tree: an edited question or a regenerated answer is another branch.

/**
 * The tree of a list of messages `{ id, parent_id, created_at, ... }`.
 * Siblings are in the order in which they were made.
 */
export function treeOf(messages) {
  const byId = new Map();
  const children = new Map([[null, []]]);
  for (const message of messages) {
    byId.set(message.id, message);
    children.set(message.id, []);
  }
  for (const message of messages) {
    // A parent that is gone would hide its branch: it begins at the root then.
    const parent = byId.has(message.parent_id) ? message.parent_id : null;
    children.get(parent).push(message);
  }
  for (const list of children.values()) list.sort((a, b) => a.created_at - b.created_at);
  return { byId, children };
}

/** The messages from the beginning to `leaf`; none for null or an unknown one. */
export function pathTo(tree, leaf) {
  const path = [];
  const seen = new Set();
  let at = tree.byId.get(leaf);
  while (at && !seen.has(at.id)) {
    seen.add(at.id);
    path.push(at);
    at = tree.byId.get(at.parent_id);
  }
  return path.reverse();
}

/** Where a message stands among its siblings: `{ index, ids }`. */
export function siblingsOf(tree, id) {
  const message = tree.byId.get(id);
  if (!message) return { index: 0, ids: [] };
  const parent = tree.byId.has(message.parent_id) ? message.parent_id : null;
  const ids = tree.children.get(parent).map((sibling) => sibling.id);
  return { index: ids.indexOf(id), ids };
}

/** Where a branch that begins at `id` was left: the newest message below it without an answer. */
export function newestLeaf(tree, id) {
  let newest = null;
  for (const message of subtree(tree, id)) {
    const isEnd = tree.children.get(message.id).length === 0;
    if (isEnd && (newest === null || message.created_at >= newest.created_at)) newest = message;
  }
  return newest?.id ?? id;
}

/** A message with everything below it, parents before their children. */
export function subtree(tree, id) {
  const found = [];
  const waiting = [id];
  while (waiting.length > 0) {
    const at = waiting.shift();
    if (!tree.byId.has(at)) continue;
    found.push(tree.byId.get(at));
    waiting.push(...tree.children.get(at).map((child) => child.id));
  }
  return found;
}

/** Rows of the tree view, depth first; depth grows only where a conversation forks. */
export function outline(tree) {
  const rows = [];
  const waiting = [...tree.children.get(null)].reverse().map((message) => [message, 0]);
  if (waiting.length > 1) for (const entry of waiting) entry[1] = 1;
  while (waiting.length > 0) {
    const [message, depth] = waiting.pop();
    const below = tree.children.get(message.id);
    rows.push({ message, depth, forks: below.length > 1 });
    const deeper = below.length > 1 ? depth + 1 : depth;
    for (const child of [...below].reverse()) waiting.push([child, deeper]);
  }
  return rows;
}
