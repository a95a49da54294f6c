// The rows of a batch as a table. Runs as view.js does; names and captions are set as text, never as HTML.
"use strict";

const [status, bar, table] = ["p", "progress", "table"].map((tag) => element.querySelector(tag));
const body = element.querySelector("tbody");

watch("value", () => {
  const { rows = [], done = 0, total = 0, status: text = "" } = props.value || {};
  status.textContent = text;
  Object.assign(bar, { max: Math.max(1, total), value: done, hidden: !total || done === total });
  table.hidden = !rows.length;
  if (rows.length < body.rows.length) body.replaceChildren();
  for (const row of rows.slice(body.rows.length)) {
    const line = body.insertRow();
    const [picture, name, caption, confidence, probability] = Array.from({ length: 5 }, () => line.insertCell());
    if (row.picture) picture.append(Object.assign(new Image(), { src: row.picture, alt: "" }));
    name.append(Object.assign(document.createElement("bdi"), { textContent: row.name, dir: "ltr" }));
    Object.assign(caption, { textContent: row.error || row.caption, dir: "auto", lang: row.error ? "en" : "" });
    caption.classList.toggle("wg-wrong", Boolean(row.error));
    const sure = `${(100 * row.confidence).toFixed(0)}\u00a0%`;
    if (row.confidence !== null) confidence.textContent = row.unlike ? `unfamiliar, ${sure}` : row.unsure ? `unsure, ${sure}` : `${sure} sure`;
    probability.textContent = row.error ? "" : `${(100 * row.p).toPrecision(2)}\u00a0%`;
  }
});
