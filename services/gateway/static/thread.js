// What a discussion offers beyond its page: what is new since the last visit, and quoting the passage that is selected.
// When somebody was here is kept in their browser alone.

import "./compose.js";
import { keeping, tab } from "./kept.js";

const section = document.querySelector("#comments[data-post]");
const visits = keeping("rapport.visits", 300);

function lastVisit(post, number) {
  const key = `rapport.since.${post}`; // until the tab is closed, so that reloading a page loses no mark
  const before = tab.get(key) ?? JSON.stringify(visits.get(post) ?? null);
  tab.set(key, before);
  visits.set(post, [Date.now(), number]);
  return JSON.parse(before);
}

function markNew() {
  const { post, count, new: pattern, dot } = section.dataset;
  const visit = lastVisit(post, Number(count));
  if (visit === null) return;
  const [since, before] = visit;
  const found = [...section.querySelectorAll("article[id]:not(.own)")].filter(
    (article) => Date.parse(article.querySelector("time")?.dateTime) > since,
  );
  found.forEach((article, index) => {
    const mark = document.createElement("a");
    mark.className = "dot";
    mark.href = `#${(found[index + 1] ?? article).id}`;
    mark.setAttribute("aria-label", dot);
    article.querySelector(".byline strong").after(mark);
  });
  const number = Math.max(found.length, Number(count) - before);
  if (number <= 0) return;
  const link = document.createElement("a");
  link.className = "new";
  link.href = found.length ? `#${found[0].id}` : "?sort=newest#comments";
  link.textContent = pattern.replace("{n}", number.toLocaleString(document.documentElement.lang));
  section.querySelector("h2").after(link);
}

function passage(article) {
  const selection = getSelection();
  const text = article?.querySelector(".text");
  if (!text || selection.isCollapsed || !text.contains(selection.anchorNode) || !text.contains(selection.focusNode)) {
    return "";
  }
  return selection.toString().trim().slice(0, 2_000);
}

function quotePassages() {
  const link = (event) => event.target.closest?.("a[href*='quote=']");
  let picked = "";
  // The pointer's way down to the link ends the selection.
  section.addEventListener("pointerdown", (event) => {
    picked = link(event) ? passage(event.target.closest("article")) : "";
  });
  section.addEventListener("click", (event) => {
    const pressed = link(event);
    if (!pressed) return;
    const text = passage(pressed.closest("article")) || picked;
    const id = new URL(pressed.href).searchParams.get("quote");
    tab.set("rapport.quoted", text ? JSON.stringify([id, text]) : null);
  });
}

if (section) {
  markNew();
  quotePassages();
}
