// Two tabs over a text: write it, and see what it will look like.

/** Offer a preview of the text of a form; posts that were imported as HTML have none. */
export function offerPreview(form, words) {
  const tabs = form.querySelector('[role="tablist"]');
  const text = form.elements.body;
  if (text.dataset.format !== "markdown") return;
  const [write, preview] = tabs.querySelectorAll('[role="tab"]');
  const panels = new Map([[write, document.getElementById("panel-write")], [preview, document.getElementById("panel-preview")]]);
  const shown = panels.get(preview);
  let latest = 0; // of two answers the later question's is shown

  async function render() {
    const number = ++latest;
    shown.textContent = text.value.trim() ? words.rendering : words.nothing;
    if (!text.value.trim()) return;
    let said;
    try {
      const sent = new URLSearchParams({ for: form.elements.for?.value ?? "", body: text.value, step: "preview" });
      const answer = await fetch(form.getAttribute("action"), {
        method: "POST", headers: { Accept: "application/json" }, body: sent,
      });
      said = await answer.json();
    } catch {
      said = { sentence: words.offline };
    }
    if (number !== latest) return;
    if (said.body_html === undefined) shown.textContent = said.sentence;
    else shown.innerHTML = said.body_html; // sanitised by posts
  }

  function choose(tab, focus) {
    for (const [one, panel] of panels) {
      one.setAttribute("aria-selected", String(one === tab));
      one.tabIndex = one === tab ? 0 : -1;
      panel.hidden = one !== tab;
    }
    if (focus) tab.focus();
    if (tab === preview) render();
  }

  for (const [tab, panel] of panels) {
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", tab.id);
    tab.addEventListener("click", () => choose(tab));
  }
  tabs.addEventListener("keydown", (event) => {
    if (!["ArrowLeft", "ArrowRight", "Home", "End"].includes(event.key)) return;
    event.preventDefault();
    choose(document.activeElement === write ? preview : write, true);
  });
  form.addEventListener("invalid", () => choose(write), true); // what is missing must be seen
  tabs.hidden = false;
}
