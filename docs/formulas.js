// Every formula of a page, drawn by KaTeX; what it cannot draw stays as it is written.
for (const node of document.querySelectorAll(".math")) {
  const formula = node.textContent.trim().replace(/^\\[([]|\\[)\]]$/g, "");
  katex.render(formula, node, { displayMode: node.tagName === "DIV", throwOnError: false });
}
