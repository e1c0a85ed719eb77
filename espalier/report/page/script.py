"""The script of the page: pointing at a model marks it in every section; heads sort tables."""

SCRIPT = """
"use strict";
document.documentElement.classList.add("js");
const tip = document.body.appendChild(document.createElement("div"));
tip.id = "tip";
tip.hidden = true;
for (const title of document.querySelectorAll("[data-tip]>title")) title.remove();  // the tip below replaces it
let hot = [];
function point(event) {
  for (const one of hot) one.classList.remove("hot");
  const target = event.target.closest("[data-model]");
  hot = !target ? [] : [...document.querySelectorAll("[data-model]")].filter(
    one => one.dataset.model === target.dataset.model);
  for (const one of hot) one.classList.add("hot");
  const described = event.target.closest("[data-tip]");
  tip.hidden = !described;
  if (!described) return;
  tip.textContent = described.dataset.tip;
  const box = tip.getBoundingClientRect();
  const x = event.clientX + 14, y = event.clientY + 14;
  tip.style.left = Math.max(4, Math.min(x, innerWidth - box.width - 8)) + "px";
  tip.style.top = (y + box.height < innerHeight ? y : Math.max(4, y - box.height - 28)) + "px";
}
document.addEventListener("pointerover", point);
document.addEventListener("click", point);
function order(head) {
  const table = head.closest("table"), column = [...head.parentNode.children].indexOf(head);
  const up = head.getAttribute("aria-sort") === "descending";
  for (const one of head.parentNode.children) one.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  const key = row => row.children[column].dataset.value ?? row.children[column].textContent;
  const compare = (a, b) => key(a) === "" ? 1 : key(b) === "" ? -1 : (up ? 1 : -1) *
    (isNaN(key(a)) || isNaN(key(b)) ? key(a).localeCompare(key(b)) : key(a) - key(b));
  table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
}
for (const head of document.querySelectorAll("table.sorts thead th")) {
  head.tabIndex = 0;
  head.addEventListener("click", () => order(head));
  head.addEventListener("keydown", event => { if (event.key === "Enter") order(head); });
}
"""
