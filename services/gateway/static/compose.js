// What a form for a comment offers beyond sending it: a draft, a counter, Ctrl-Enter, a preview in place, a quoted selection.

import { count } from "./counter.js";
import { keeping, tab } from "./kept.js";

const PAUSE = 400; // milliseconds between typing and keeping
const drafts = keeping("rapport.drafts", 50);
const query = new URLSearchParams(location.search);

// Says something to those who do not see the page.
export function tell(text) {
  const told = document.querySelector(".told");
  if (told) told.textContent = text;
}

function forgetSent() {
  const sent = tab.get("rapport.sent");
  if (sent !== null && query.has("said")) drafts.remove(sent);
  tab.set("rapport.sent", null);
}

function countCharacters(area) {
  const note = document.createElement("p");
  note.className = "counter";
  area.after(note);
  count(area, note, area.dataset);
}

function keepDraft(form, area) {
  const key = form.dataset.draft;
  if (key === undefined) return;
  const kept = drafts.get(key);
  const isRefused = area.hasAttribute("aria-describedby");
  const quoted = query.has("quote") ? area.value : "";
  if (kept && !isRefused && (area.value === "" || quoted)) {
    area.value = quoted && !kept.includes(quoted.trim()) ? `${kept.trimEnd()}\n\n${quoted}` : kept;
    tell(area.dataset.restored);
  }
  let timer;
  const keep = () => {
    clearTimeout(timer);
    timer = undefined;
    if (area.value.trim()) drafts.set(key, area.value);
    else drafts.remove(key);
  };
  const later = () => {
    clearTimeout(timer);
    timer = setTimeout(keep, PAUSE);
  };
  const leaving = () => {
    if (timer !== undefined) keep();
  };
  area.addEventListener("input", later);
  addEventListener("pagehide", leaving);
  form.addEventListener("submit", (event) => {
    keep();
    if (event.submitter?.name !== "preview") tab.set("rapport.sent", key);
  });
}

function quoteSelection(area) {
  const [id, text] = JSON.parse(tab.get("rapport.quoted") ?? "[]");
  tab.set("rapport.quoted", null);
  if (!id || query.get("quote") !== id || !area.value.startsWith(">")) return;
  area.value = `${text.split("\n").map((line) => `> ${line}`.trimEnd()).join("\n")}\n\n`;
}

function preview(form, area) {
  const button = form.querySelector("button[name=preview]");
  const box = form.querySelector(".preview");
  if (!button || !box) return;
  let failed = false;
  button.addEventListener("click", async (event) => {
    if (failed || !area.checkValidity()) return; // the server shows it, or the browser says what is missing
    event.preventDefault();
    try {
      const answer = await fetch("/v1/preview", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ body: area.value, kind: "comment" }),
      });
      if (!answer.ok) throw new Error(answer.statusText);
      box.querySelector(".text").innerHTML = (await answer.json()).body_html; // sanitised by its service
      box.hidden = false;
      box.scrollIntoView({ block: "nearest" });
      tell(area.dataset.shown);
    } catch {
      failed = true;
      form.requestSubmit(button);
    }
  });
}

function sendByKey(form, area) {
  area.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || event.isComposing) return;
    event.preventDefault();
    const button = form.querySelector("button");
    if (button) form.requestSubmit(button);
  });
}

forgetSent();
for (const form of document.querySelectorAll("form.compose")) {
  const area = form.querySelector("textarea");
  quoteSelection(area);
  keepDraft(form, area);
  countCharacters(area);
  sendByKey(form, area);
  preview(form, area);
  if (document.activeElement === area) area.setSelectionRange(area.value.length, area.value.length);
}
