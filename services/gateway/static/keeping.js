// Keep what is being written: at once a copy in this browser, and after a pause a draft on the server.
//
// Only drafts are stored by themselves: readers would see an edit of a published post half done.

const PREFIX = "rapport:write:";
const DAYS = 30;
const SOON = 500; // milliseconds after which a copy is kept
const PAUSE = 2_000; // in the typing, after which a draft is stored
const BETWEEN = 10_000; // from one storing to the next, at least
const LATER = 15_000; // until it is tried again
const ANSWER = 10_000; // that is waited for
const NAMES = ["title", "body", "slug", "tags", "excerpt", "cover", "discussion", "kind", "publish_at", "edit_note"];
const FINAL = [403, 404, 409, 412]; // of a refusal that no second try changes
const NOT_LIKE_THIS = [413, 422]; // of one that another text changes

const bare = (text) => text.normalize("NFC").trim();

function slugOf(title) {
  return title.normalize("NFC").toLowerCase().replace(/['’ʼ]/g, "")
    .replace(/[^\p{Ll}\p{Lo}\p{Lm}\p{Nd}\p{Mn}\p{Mc}_]+/gu, "-").replace(/-\p{M}+/gu, "-")
    .replace(/^[-\p{M}]+/u, "").slice(0, 200).replace(/-+$/, "");
}

function newKey() { // browsers have `randomUUID` on safe origins alone
  const hex = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4}).(.{3}).(.{3})(.{12})$/, "$1-$2-4$3-a$4-$5");
}

// Browsers may forbid a site to keep anything; then there is only the server.
function storage(use) {
  try {
    return use(localStorage);
  } catch {
    return undefined;
  }
}

function copies() {
  return storage((kept) => Object.keys(kept).filter((name) => name.startsWith(PREFIX)).flatMap((name) => {
    const copy = JSON.parse(kept.getItem(name));
    if (copy.at > Date.now() - DAYS * 86_400_000) return [{ name, ...copy }];
    kept.removeItem(name);
    return [];
  })) ?? [];
}

/** Keep a form; the result tells whether it differs from what is stored, and gives what is under way as a promise. */
export function keep(form, words, pictures) {
  const fields = form.elements;
  const says = document.getElementById("save-state");
  const now = () => new Intl.DateTimeFormat(document.documentElement.lang, { timeStyle: "short" }).format();
  const values = () => Object.fromEntries(NAMES.filter((name) => fields[name]).map((name) => [name, fields[name].value]));
  const isDraft = () => ["new", "draft"].includes(form.dataset.status);
  const isNew = () => form.dataset.status === "new";
  const name = () => PREFIX + (isNew() ? `new:${fields.key.value}` : form.getAttribute("action").split("/").pop());
  const snapshot = () => JSON.stringify(values());

  let stored = "unsaved" in form.dataset ? null : snapshot();
  let slugFollows = isNew() && fields.slug.value === "";
  let titled = fields.title.value; // the title that the address was made of
  let unanswered = null; // what was sent without an answer: it is sent again as it was, so that it is stored once
  let saving = null;
  let stopped = false;
  let last = -Infinity; // when a draft was stored
  let copying;
  let waiting;

  const differs = () => snapshot() !== stored;

  function say(text, isError = false) {
    says.hidden = false;
    says.classList.toggle("error", isError);
    if (says.textContent !== text) says.textContent = text;
  }

  function copy() {
    clearTimeout(copying);
    if (!differs()) return;
    const value = JSON.stringify({ at: Date.now(), by: fields.for?.value ?? "", values: values() });
    storage((kept) => kept.setItem(name(), value));
  }

  const isWhole = () => fields.title.value.trim() !== "" && fields.body.value.trim() !== "";

  function body() {
    const sent = new URLSearchParams();
    for (const [field, value] of new FormData(form)) if (typeof value === "string") sent.append(field, value);
    sent.set("step", "autosave");
    if (slugFollows && !isNew() && fields.title.value !== titled) sent.set("slug", slugOf(fields.title.value));
    return sent;
  }

  function taken(said, sent, was) {
    storage((kept) => kept.removeItem(name()));
    if (isNew()) {
      form.dataset.status = "draft";
      fields.status.value = "draft";
      if (fields.kind) fields.kind.disabled = true; // what it is, it stays
      history.replaceState(history.state, "", said.edit);
    }
    form.setAttribute("action", said.action);
    fields.key.value = said.key;
    if (!fields.version) {
      const field = document.createElement("input");
      field.type = "hidden";
      field.name = "version";
      form.append(field);
    }
    fields.version.value = said.version;
    titled = sent.get("title");
    if (slugFollows) {
      fields.slug.value = said.slug;
      was = JSON.stringify({ ...JSON.parse(was), slug: said.slug });
    }
    if (!isNew() && location.pathname.endsWith("/edit")) history.replaceState(history.state, "", said.edit);
    stored = was;
    last = Date.now();
    if (differs()) copy();
    say(words.saved.replace("{time}", now()));
  }

  async function send(sent) {
    const answer = await fetch(form.getAttribute("action"), {
      method: "POST", headers: { Accept: "application/json" }, body: sent, redirect: "error",
      signal: AbortSignal.timeout(ANSWER),
    });
    return { status: answer.status, retry: Number(answer.headers.get("Retry-After")), said: await answer.json() };
  }

  async function store() {
    const was = unanswered?.was ?? snapshot();
    let sent = unanswered?.sent ?? body();
    say(words.saving);
    let result;
    try {
      result = await send(sent);
      if (result.status === 422 && result.said.field === "slug" && slugFollows) {
        slugFollows = false; // another post has that address; this one keeps its own
        sent = body();
        result = await send(sent);
      }
    } catch {
      unanswered = { sent, was };
      say(words.offline, true);
      return LATER;
    }
    const isRunning = result.said.kind === "still-running"; // what was sent before may be stored yet
    unanswered = result.status >= 500 || isRunning ? { sent, was } : null;
    if (result.status === 200) {
      taken(result.said, sent, was);
      return differs() ? BETWEEN : 0;
    }
    if (result.said.kind === "idempotency-key-reused") { // what an earlier page of this text sent was stored after all
      fields.key.value = newKey();
      return PAUSE;
    }
    stopped = FINAL.includes(result.status) && !isRunning;
    say(words.refused.replace("{reason}", result.said.sentence), true);
    if (stopped || NOT_LIKE_THIS.includes(result.status)) return 0;
    return Math.max(LATER, result.retry * 1_000);
  }

  function save() {
    clearTimeout(waiting);
    if (saving || stopped || !isDraft() || !isWhole() || !differs()) return;
    if (pictures.underWay()) {
      waiting = setTimeout(save, PAUSE);
      return;
    }
    saving = store().catch(() => LATER).then((again) => {
      saving = null;
      if (again) waiting = setTimeout(save, again);
    });
  }

  function changed() {
    clearTimeout(copying);
    copying = setTimeout(copy, SOON);
    if (!differs()) return;
    if (!isDraft() || stopped) {
      if (!stopped) say(words.kept);
      return;
    }
    if (!isWhole()) {
      say(words.untitled);
      return;
    }
    clearTimeout(waiting);
    waiting = setTimeout(save, Math.max(PAUSE, last + BETWEEN - Date.now()));
  }

  function offer() {
    const shown = document.getElementById("kept");
    const mine = copies().filter((one) => one.by === (fields.for?.value ?? ""));
    const done = document.cookie.match(/(?:^|; )rapport_stored=([^;]+)/)?.[1];
    for (const one of mine) if (done && one.name === `${PREFIX}new:${done}`) storage((kept) => kept.removeItem(one.name));
    const fitting = mine.filter((one) => (isNew()
      ? one.name.startsWith(`${PREFIX}new:`) && one.name !== name() && !one.name.endsWith(done ?? "-")
      : one.name === name()));
    const newest = fitting.sort((one, other) => other.at - one.at)[0];
    if (!newest || stored === null) return;
    const same = ["title", "body"].every((field) => bare(newest.values[field] ?? "") === bare(fields[field].value));
    if (same) {
      storage((kept) => kept.removeItem(newest.name));
      return;
    }
    const when = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "medium", timeStyle: "short" });
    document.getElementById("kept-when").textContent = words.found.replace("{time}", when.format(newest.at));
    document.getElementById("kept-text").textContent = (newest.values.title || newest.values.body).slice(0, 100);
    shown.hidden = false;
    const close = () => {
      shown.hidden = true;
      storage((kept) => kept.removeItem(newest.name));
    };
    document.getElementById("kept-drop").addEventListener("click", close);
    document.getElementById("kept-take").addEventListener("click", () => {
      for (const [field, value] of Object.entries(newest.values)) if (fields[field]) fields[field].value = value;
      if (isNew()) fields.key.value = newest.name.split(":").pop(); // one key a text: it is stored once at most
      close();
      fields.body.dispatchEvent(new Event("input", { bubbles: true }));
      fields.body.focus();
    });
  }

  form.addEventListener("input", changed);
  form.addEventListener("change", (event) => {
    if (event.target === fields.title && slugFollows && !isNew()) save();
  });
  fields.slug.addEventListener("input", () => { slugFollows = false; });
  form.addEventListener("submit", copy);
  addEventListener("pagehide", copy);
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState !== "hidden") return;
    copy();
    save();
  });
  offer();
  return { differs, underWay: () => saving };
}
