// The keys of the moderators' desk: j and k go on and back, and the others press the buttons of the comment at hand.
// Without this module every button and link works by itself.

const list = document.querySelector(".desk-list");
const around = document.querySelector("#around");
const comments = list ? [...list.querySelectorAll("article")] : [];
const KEPT = "rapport.moderate.keys"; // whether the keys are off: single keys disturb who speaks to the machine

let at = Math.max(0, comments.findIndex((comment) => comment.hasAttribute("aria-current")));
let asked = null;

async function showAround(comment) {
  const link = comment.querySelector("[data-around]");
  asked?.abort();
  asked = new AbortController();
  const { signal } = asked;
  around.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(link.href, { signal });
    if (!answer.ok) throw new Error(String(answer.status));
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    around.replaceChildren(...page.querySelector("#around").childNodes);
  } catch {
    if (!signal.aborted) location.assign(link.href); // the page itself says what is wrong
  } finally {
    if (!signal.aborted) around.removeAttribute("aria-busy");
  }
}

function go(to, { focus = true } = {}) {
  if (!comments[to]) return;
  comments[at].removeAttribute("aria-current");
  at = to;
  const comment = comments[at];
  comment.setAttribute("aria-current", "true");
  if (focus) {
    comment.focus({ preventScroll: true });
    comment.scrollIntoView({ block: "nearest" });
  }
  showAround(comment);
}

function press(key) {
  if (key === "j") return go(at + 1);
  if (key === "k") return go(at - 1);
  const place = key === "u" ? document.querySelector(".decided") : comments[at];
  place?.querySelector(`[data-key="${key}"]`)?.click();
}

function isTyping(target) {
  return target.isContentEditable || target.matches("textarea, select, input:not([type=checkbox], [type=radio])");
}

function remember(off) {
  try {
    if (off) localStorage.setItem(KEPT, "off");
    else localStorage.removeItem(KEPT);
  } catch {} // it may not be kept, then it holds for this page
}

function isOff() {
  try {
    return localStorage.getItem(KEPT) === "off";
  } catch {
    return false;
  }
}

const keys = document.querySelector("#keys");
if (keys) {
  keys.checked = !isOff();
  keys.addEventListener("change", () => remember(!keys.checked));
  keys.closest(".keys").hidden = false;
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || isTyping(event.target)) return;
  if (keys ? !keys.checked : isOff()) return;
  if (!"jkahrux".includes(event.key) || (event.repeat && !"jk".includes(event.key))) return;
  event.preventDefault();
  press(event.key);
});

for (const [index, comment] of comments.entries()) {
  comment.querySelector("[data-around]").addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    go(index, { focus: false });
    around.focus({ preventScroll: true });
    around.scrollIntoView({ block: "nearest" });
  });
}

// After a decision about one comment the next one is at hand.
list?.addEventListener("submit", (event) => {
  const own = event.submitter?.closest("article");
  const after = own && (comments[comments.indexOf(own) + 1] ?? comments[comments.indexOf(own) - 1]);
  if (!after) return;
  const field = Object.assign(document.createElement("input"), { type: "hidden", name: "next" });
  field.value = after.id.slice("c-".length);
  list.append(field);
});
