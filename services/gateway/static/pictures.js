// Pictures that are chosen, dropped or pasted go to the server at once and into the text where the cursor is.

const KINDS = ["image/png", "image/jpeg", "image/webp", "image/gif"];
const LARGEST = 5 * 1024 * 1024;
const MARKS = /[\\[\]`*_<]/g;

function typed(field) {
  field.dispatchEvent(new Event("input", { bubbles: true }));
}

function replace(field, from, to) {
  const at = field.value.indexOf(from);
  if (at < 0) return;
  field.setRangeText(to, at, at + from.length, "preserve");
  typed(field);
}

function insert(field, text) {
  const before = field.value.slice(0, field.selectionStart);
  const gap = before === "" || before.endsWith("\n\n") ? "" : before.endsWith("\n") ? "\n" : "\n\n";
  field.setRangeText(`${gap}${text}\n\n`, field.selectionStart, field.selectionEnd, "end");
  typed(field);
}

async function upload(form, file, words) {
  if (!KINDS.includes(file.type)) throw new Error(words.no_picture.replace("{name}", file.name));
  if (file.size > LARGEST) throw new Error(words.too_large.replace("{name}", file.name));
  const sent = new FormData();
  sent.set("for", form.elements.for?.value ?? "");
  sent.set("picture", file);
  let answer;
  let said = {};
  try {
    answer = await fetch("/write/pictures", { method: "POST", headers: { Accept: "application/json" }, body: sent });
    said = await answer.json();
  } catch {
    // no answer, or none of ours: said below
  }
  if (answer?.ok && said.url) return said;
  const reason = said.sentence ?? words.try_again;
  throw new Error(words.failed.replace("{name}", file.name).replace("{reason}", reason));
}

/** Take pictures for a form; `underWay` of the result is a promise while one is being uploaded, else null. */
export function takePictures(form, words) {
  const text = form.elements.body;
  const list = document.getElementById("new-pictures");
  const covers = document.getElementById("covers");
  const running = new Set();
  let number = 0;

  function row(...parts) {
    const item = document.createElement("li");
    item.append(...parts);
    list.append(item);
    list.hidden = false;
    return item;
  }

  function close(item) {
    item.remove();
    list.hidden = list.children.length === 0;
  }

  function closing(item) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "second";
    button.textContent = words.done;
    button.addEventListener("click", () => {
      close(item);
      text.focus();
    });
    return button;
  }

  function thumbnail(url) {
    const image = document.createElement("img");
    image.src = url;
    image.alt = "";
    image.width = 96;
    image.height = 64;
    return image;
  }

  function offerAsCover(picture, chosen) {
    if (covers.querySelector(`[value="${picture.id}"]`)) return;
    const choice = document.createElement("label");
    choice.className = "choice";
    const radio = document.createElement("input");
    radio.type = "radio";
    radio.name = "cover";
    radio.value = picture.id;
    const image = thumbnail(picture.url);
    image.alt = `${words.as_cover} ${covers.children.length}`;
    choice.append(radio, " ", image);
    covers.append(choice);
    if (chosen) {
      radio.checked = true;
      typed(radio);
    }
  }

  function askWhatItShows(picture, asks) {
    let stands = `![](${picture.url})`;
    const label = document.createElement("label");
    const field = document.createElement("input");
    field.id = `shows-${picture.id}`;
    field.dir = "auto";
    field.maxLength = 500;
    label.htmlFor = field.id;
    label.textContent = words.shows;
    const box = document.createElement("div");
    box.append(label, field);
    const item = row(thumbnail(picture.url), box);
    item.append(closing(item));
    field.addEventListener("input", (event) => {
      event.stopPropagation();
      const shows = `![${field.value.trim().replace(MARKS, "\\$&")}](${picture.url})`;
      replace(text, stands, shows);
      stands = shows;
    });
    field.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.ctrlKey || event.metaKey) return;
      event.preventDefault(); // the form is not sent by it
      close(item);
      text.focus();
    });
    if (asks) field.focus();
  }

  function say(error) {
    const sentence = document.createElement("p");
    sentence.className = "error";
    sentence.setAttribute("role", "alert");
    sentence.textContent = error.message;
    const item = row(sentence);
    item.append(closing(item));
  }

  function during(work) {
    const one = work.catch(say).finally(() => running.delete(one));
    running.add(one);
  }

  async function put(file, asks) {
    const mark = `![${words.uploading.replace("{name}", file.name.replace(MARKS, ""))} ${++number}]()`;
    insert(text, mark);
    try {
      const picture = await upload(form, file, words);
      replace(text, mark, `![](${picture.url})`);
      offerAsCover(picture, false);
      askWhatItShows(picture, asks);
    } catch (error) {
      replace(text, mark, "");
      throw error;
    }
  }

  const takeAll = (files, asks) => {
    for (const file of files) during(put(file, asks && files.length === 1));
  };
  const carried = (transfer) => [...(transfer?.files ?? [])];

  text.addEventListener("dragover", (event) => {
    if (event.dataTransfer?.types.includes("Files")) event.preventDefault();
  });
  text.addEventListener("drop", (event) => {
    const files = carried(event.dataTransfer);
    if (files.length === 0) return;
    event.preventDefault();
    takeAll(files, false);
  });
  text.addEventListener("paste", (event) => {
    const files = carried(event.clipboardData).filter((file) => file.type.startsWith("image/"));
    if (files.length === 0 || event.clipboardData.types.includes("text/plain")) return;
    event.preventDefault();
    takeAll(files, false);
  });
  const chosen = form.elements.picture;
  chosen.multiple = true;
  chosen.addEventListener("change", () => {
    takeAll([...chosen.files], true);
    chosen.value = "";
  });
  const cover = form.elements.cover_picture;
  cover.addEventListener("change", () => {
    const [file] = cover.files;
    if (!file) return;
    during(upload(form, file, words).then((picture) => offerAsCover(picture, true)));
    cover.value = "";
  });
  return { underWay: () => (running.size ? Promise.all(running) : null) };
}
