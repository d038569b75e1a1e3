// Say how many characters are left, from four fifths of what a text may have.

const FROM = 0.8;

/** Count what stands in a field, as the server does: code points in NFC, without outer white space. */
export function count(field, says, words) {
  const most = Number(field.dataset.most);
  const format = new Intl.NumberFormat(document.documentElement.lang);
  function show() {
    // no text has fewer code units than code points, so a shorter one need not be counted
    const length = field.value.length < FROM * most ? 0 : [...field.value.trim().normalize("NFC")].length;
    says.hidden = length < FROM * most;
    if (says.hidden) return;
    const over = length > most;
    says.textContent = (over ? words.over : words.left).replace("{count}", format.format(Math.abs(most - length)));
    says.classList.toggle("error", over);
  }
  field.addEventListener("input", show);
  show();
}
