import assert from "node:assert/strict";
import { test } from "node:test";
import { newestLeaf, outline, pathTo, siblingsOf, subtree, treeOf } from "../../../airust/ui/tree.js";

const message = (id, parent_id, created_at) => ({ id, parent_id, created_at, role: "user", content: id });
const ids = (messages) => messages.map((m) => m.id);

// q1 - a1 - q2 - a2        q3 (an edit of q1)
//    \ a1b
const TALK = [
  message("q1", null, 1), message("a1", "q1", 2), message("q2", "a1", 3), message("a2", "q2", 4),
  message("a1b", "q1", 5), message("q3", null, 6),
];
const tree = treeOf(TALK);

test("a path goes from the beginning to the leaf", () => {
  assert.deepEqual(ids(pathTo(tree, "a2")), ["q1", "a1", "q2", "a2"]);
  assert.deepEqual(ids(pathTo(tree, "a1b")), ["q1", "a1b"]);
  assert.deepEqual(pathTo(tree, null), []);
  assert.deepEqual(pathTo(tree, "gone"), []);
});

test("siblings are counted in the order in which they were made", () => {
  assert.deepEqual(siblingsOf(tree, "a1b"), { index: 1, ids: ["a1", "a1b"] });
  assert.deepEqual(siblingsOf(tree, "q3"), { index: 1, ids: ["q1", "q3"] });
  assert.deepEqual(siblingsOf(tree, "gone"), { index: 0, ids: [] });
});

test("messages that were put back later keep their place", () => {
  const again = treeOf([TALK[5], TALK[4], TALK[0], TALK[1]]);
  assert.deepEqual(siblingsOf(again, "q1").ids, ["q1", "q3"]);
  assert.deepEqual(siblingsOf(again, "a1").ids, ["a1", "a1b"]);
});

test("a branch is entered where it was left", () => {
  assert.equal(newestLeaf(tree, "q1"), "a1b");
  const later = treeOf([...TALK, message("q4", "a2", 7)]);
  assert.equal(newestLeaf(later, "q1"), "q4");
  assert.equal(newestLeaf(tree, "a1"), "a2");
  assert.equal(newestLeaf(tree, "q3"), "q3");
});

test("a subtree has parents before children", () => {
  assert.deepEqual(ids(subtree(tree, "a1")), ["a1", "q2", "a2"]);
  assert.deepEqual(subtree(tree, "gone"), []);
});

test("the outline goes deeper only where the conversation forks", () => {
  const rows = outline(tree).map(({ message: { id }, depth, forks }) => [id, depth, forks]);
  assert.deepEqual(rows, [
    ["q1", 1, true], ["a1", 2, false], ["q2", 2, false], ["a2", 2, false], ["a1b", 2, false],
    ["q3", 1, false],
  ]);
  assert.deepEqual(outline(treeOf(TALK.slice(0, 4))).map((row) => row.depth), [0, 0, 0, 0]);
});

test("a lost parent or a circle does not hide messages or hang", () => {
  const orphan = treeOf([message("b", "lost", 1)]);
  assert.deepEqual(ids(pathTo(orphan, "b")), ["b"]);
  assert.deepEqual(siblingsOf(orphan, "b").ids, ["b"]);
  assert.equal(pathTo(treeOf([message("a", "b", 1), message("b", "a", 2)]), "a").length, 2);
});

test("ten thousand messages in one line are no problem", () => {
  const long = Array.from({ length: 10_000 }, (_, i) => message(`m${i}`, i ? `m${i - 1}` : null, i));
  assert.equal(pathTo(treeOf(long), "m9999").length, 10_000);
  assert.equal(outline(treeOf(long)).length, 10_000);
});
