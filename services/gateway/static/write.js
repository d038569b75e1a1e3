// The form of a post, made better: it is kept while it is written, takes pictures, and shows what it will look like.

import { keepTime, showTimes } from "./clock.js";
import { count } from "./counter.js";
import { keep } from "./keeping.js";
import { takePictures } from "./pictures.js";
import { offerPreview } from "./preview.js";

const LONGEST_WAIT = 30_000; // milliseconds, for what is under way when a button is pressed

function start(form) {
  const words = JSON.parse(form.dataset.words);
  for (const one of form.querySelectorAll(".with-script")) one.hidden = false;
  for (const one of form.querySelectorAll(".without-script")) one.remove();
  const text = form.elements.body;
  showTimes();
  keepTime(form.elements.publish_at, document.getElementById("zone"), words);
  count(text, document.getElementById("body-count"), words);
  const pictures = takePictures(form, words);
  const kept = keep(form, words, pictures);
  offerPreview(form, words);

  let leaves = false;
  form.addEventListener("submit", async (event) => {
    if (event.defaultPrevented) return;
    if (pictures.underWay() || kept.underWay()) {
      event.preventDefault();
      const waited = new Promise((resolve) => setTimeout(resolve, LONGEST_WAIT));
      await Promise.race([Promise.all([pictures.underWay(), kept.underWay()]), waited]);
      form.requestSubmit(event.submitter);
      return;
    }
    leaves = true;
  });
  addEventListener("pageshow", () => { leaves = false; });
  addEventListener("beforeunload", (event) => {
    if (!leaves && kept.differs()) event.preventDefault();
  });
  form.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || event.isComposing) return;
    event.preventDefault();
    form.requestSubmit(form.querySelector('.steps [value="update"]') ?? form.querySelector('.steps [value="save"]'));
  });
}

const form = document.getElementById("post-form");
if (form) start(form);
