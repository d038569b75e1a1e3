// Times by the clock of who reads them. Forms carry universal time; a field shows it by that clock and sends it back.

const MINUTES = "YYYY-MM-DDTHH:MM".length;

function local(date) {
  const shifted = new Date(date.getTime() - date.getTimezoneOffset() * 60_000);
  return shifted.toISOString().slice(0, MINUTES);
}

/** Show the exact times of a page by the reader's clock. */
export function showTimes(root = document) {
  const format = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "long", timeStyle: "short" });
  for (const time of root.querySelectorAll("time.exact")) {
    const date = new Date(time.dateTime);
    if (!Number.isNaN(date.getTime())) time.textContent = format.format(date);
  }
}

/** Let a field of a moment in universal time be filled in by the writer's clock, and say so. */
export function keepTime(field, says, words) {
  if (!field) return;
  const given = new Date(`${field.value}Z`);
  if (field.value && !Number.isNaN(given.getTime())) field.value = local(given);
  const name = new Intl.DateTimeFormat(document.documentElement.lang, { timeZoneName: "long" })
    .formatToParts(new Date()).find((part) => part.type === "timeZoneName")?.value;
  says.textContent = words.zone.replace("{zone}", name ?? "");
  field.form.addEventListener("formdata", (event) => {
    const moment = new Date(event.formData.get("publish_at") ?? "");
    if (!Number.isNaN(moment.getTime())) event.formData.set("publish_at", moment.toISOString().slice(0, MINUTES));
  });
}
