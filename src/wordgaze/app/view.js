// The picture, its captions and the attention of each word. Runs in the browser as the body of a function that Gradio
// calls with `element`, `trigger`, `props` and `watch`; all that comes from a model or a file is set as text, never as
// HTML. `props.value` is what CaptionHandlers.captions yields; `props.mail` answers a single request, named by its ticket.
"use strict";

const part = (name) => element.querySelector(`.wg-${name}`);
const [view, canvas, words, status, alternatives, answers] =
  ["view", "canvas", "words", "status", "alternatives", "answers"].map(part);
const still = matchMedia("(prefers-reduced-motion: reduce)");
const narrow = matchMedia("(max-width: 68rem)"); // as in page.css: the captions are below the picture
const RIGHT_TO_LEFT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]/u; // the blocks of its scripts
const STEP = 1000; // milliseconds that a word is shown when the sentence is played
const photo = new Image();
const veil = document.createElement("canvas");
const ramp = colours();

let oldest = 0; // the last request about another picture, whose answer is not shown
let run = 0; // of the captions that are shown
let picked = null; // the answer with a word that a person picked
let explanation = null; // the caption on the stage
let chosen = ""; // its key among the answers
let at = -1; // the word that is shown, -1 for none
let shown = null; // the weights on the canvas, on their way to those of the word
let strength = 0; // of the veil, 0 to 1
let region = null; // [x0, y0, x1, y1] in shares of the picture
let held = false; // whether the region stays when the pointer leaves
let cursor = null; // the cell that the keyboard stands on
let ticket = 0; // of the last request
let playing = 0, frame = 0;

// ---- what Python sends

watch("value", () => {
  const value = props.value;
  if (!value || value.run !== run) reset(value && value.keeps_picture);
  run = value ? value.run : 0;
  part("problem").textContent = (value && value.error) || "";
  if (value && value.error) reveal();
  if (value && value.keeps_picture) status.textContent = value.status; // the captioner is being loaded
  if (!value || !value.picture) return;
  if (photo.src !== value.picture) photo.src = value.picture;
  list();
  if (value.explanation && !explanation) showCaption(value.explanation);
  else if (!explanation) view.dataset.state = "waiting";
  if (at < 0) status.textContent = value.status || "";
});

watch("mail", () => {
  const mail = props.mail;
  if (!mail || !mail.ticket) return;
  if (mail.ticket === ticket) view.removeAttribute("aria-busy");
  if (mail.file) return save(mail.file);
  if (mail.ticket <= oldest) return;
  if (mail.message) status.textContent = mail.message;
  if (mail.ticket !== ticket || !mail.explanation) return;
  if (mail.answer) picked = mail.answer;
  list();
  showCaption(mail.explanation);
});

photo.onload = () => {
  canvas.width = photo.naturalWidth;
  canvas.height = photo.naturalHeight;
  draw();
};

function reset(keepsPicture = false) {
  stop();
  oldest = ticket;
  view.removeAttribute("aria-busy");
  explanation = shown = region = cursor = picked = null;
  chosen = "";
  [at, strength, held] = [-1, 0, false];
  if (!keepsPicture) photo.removeAttribute("src");
  view.dataset.state = photo.hasAttribute("src") ? "waiting" : "empty";
  for (const list of [words, alternatives, answers]) list.replaceChildren();
  part("text").value = "";
  for (const name of ["status", "unlike", "sure", "reference", "naming"]) part(name).textContent = "";
  draw();
}

function request(event, more) {
  view.setAttribute("aria-busy", "true");
  trigger(event, { ticket: ++ticket, model: explanation ? explanation.model.name : "", words: tokens(), ...more });
}

// Text of a caption within an English sentence, whose order it leaves alone.
const isolated = (text) => (RIGHT_TO_LEFT.test(text) ? `\u2068${text}\u2069` : text);

const tokens = () => (explanation ? explanation.words.map((word) => word.text) : []);

function save({ name, type, data }) {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const link = make("a", { href: URL.createObjectURL(new Blob([bytes], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

// ---- the captions, side by side

const given = () => [...((props.value && props.value.answers) || []), ...(picked ? [picked] : [])];

function list() {
  const several = new Set(given().map((answer) => answer.model)).size > 1;
  const rows = given().map((answer) => {
    const seconds = answer.seconds + answer.encoder_seconds;
    const head = make("h3", {}, answer.strategy, make("small", {}, several ? `${answer.model} · ` : "", seconds ? time(seconds) : ""));
    return make("section", {}, head, ...answer.captions.map((caption) => row(answer, caption)));
  });
  const places = (props.value.waiting || []).map((name) => make("section", { className: "wg-waiting" }, make("h3", {}, name)));
  answers.replaceChildren(...rows, ...places);
  mark();
}

function row({ model, is_outlier }, caption) {
  const shaded = caption.words.flatMap((word) => [shade(make("span", {}, word.text), word.probability), " "]);
  const text = withheld(caption) ? ["unsure"] : shaded.length ? shaded : ["(no words)"];
  const button = make("button", { type: "button", className: "wg-row" },
    make("span", { className: "wg-sentence", dir: "auto", lang: "" }, ...text),
    make("small", { title: `probability ${percent(caption.probability)}, log-probability ${caption.log_prob.toFixed(2)}` },
      caption.confidence === null ? percent(caption.probability) : confidence(caption, is_outlier)));
  button.dataset.key = `${model}\n${caption.caption}`;
  button.onclick = () => request("explain", { model, words: caption.words.map((word) => word.text) });
  return button;
}

const withheld = (caption) => caption.confidence !== null && caption.confidence < (props.value.minimum || 0);

// Of a picture unlike those of the training the captioner may be sure and wrong.
const confidence = (caption, isOutlier) => isOutlier ? `unfamiliar, ${percent(caption.confidence)}`
  : caption.unsure ? `unsure, ${percent(caption.confidence)}` : `${percent(caption.confidence)} sure`;

// The caption on the stage among the answers, or nothing.
const staged = () => given().filter((answer) => answer.model === explanation.model.name)
  .flatMap((answer) => answer.captions.map((caption) => ({ ...caption, is_outlier: answer.is_outlier })))
  .find((caption) => caption.caption === explanation.caption);

// What is known of the confidence in it.
function sureness(caption) {
  if (!caption || caption.confidence === null) return "";
  const below = withheld(caption) ? `, less than the minimum confidence of ${percent(props.value.minimum)}` : "";
  if (caption.is_outlier) return `Its confidence is ${percent(caption.confidence)}${below}.`;
  return `The captioner is ${caption.unsure || below ? "unsure" : "sure"} of this caption: ${percent(caption.confidence)}${below}.`;
}

function mark() {
  for (const button of answers.querySelectorAll(".wg-row")) {
    button.setAttribute("aria-pressed", button.dataset.key === chosen);
  }
}

// ---- one caption on the stage

function showCaption(given) {
  stop();
  explanation = given;
  chosen = `${explanation.model.name}\n${explanation.caption}`;
  [at, region, held, cursor, strength, shown] = [-1, null, false, null, 0, null];
  view.dataset.state = "ready";
  status.textContent = "";
  const caption = staged();
  part("unlike").textContent = caption && caption.is_outlier
    ? `This picture is unlike those that ${explanation.model.name} was trained on. The caption and its confidence may be wrong.` : "";
  part("sure").textContent = sureness(caption);
  const reference = props.value.reference;
  part("reference").replaceChildren(...(reference ? [make("b", {}, "Reference"), " ", make("bdi", { lang: "" }, reference)] : []));
  part("naming").replaceChildren(...(caption && caption.naming ? [make("b", {}, "Naming"), " ", make("bdi", { lang: "" }, caption.naming)] : []));
  const end = { text: "end", probability: explanation.end.probability, likeliest: explanation.end.likeliest };
  words.replaceChildren(...[...explanation.words, end].map((word, i) => {
    const button = shade(make("button", { type: "button", className: "wg-word", tabIndex: i ? -1 : 0 },
      make("span", {}, word.text), make("small", {}, percent(word.probability))), word.probability);
    button.onpointerenter = button.onfocus = () => show(i);
    button.onclick = () => (stop(), show(i));
    return button;
  }));
  words.lastChild.classList.add("wg-end");
  part("text").value = explanation.caption;
  canvas.setAttribute("aria-label",
    `The photograph, ${explanation.size.join(" by ")} pixels. ${isolated(explanation.caption)}. Use the arrow keys to move over its cells and list the words with attention there.`);
  mark();
  showAlternatives();
  draw();
  reveal();
}

// Where the captions are below the controls, as on a phone.
function reveal() {
  if (narrow.matches) view.scrollIntoView({ behavior: still.matches ? "auto" : "smooth", block: "start" });
}

function show(i) {
  if (!explanation || i === at) return;
  at = i;
  [...words.children].forEach((button, j) => {
    button.setAttribute("aria-pressed", j === i);
    button.tabIndex = j === i ? 0 : -1;
  });
  const word = explanation.words[i];
  if (word) {
    const seen = word.weights.flat();
    const away = word.elsewhere > 0.005 ? ` ${percent(word.elsewhere)} of the attention on no part of the picture.` : "";
    status.textContent = `${i + 1} of ${explanation.words.length}: “${isolated(word.text)}”, ${percent(word.probability)}, attention ${place(seen)}.${away}`;
    move(seen);
  } else {
    status.textContent = `The caption ends here: ${percent(explanation.end.probability)}.`;
    move(null);
  }
  showAlternatives();
}

function showAlternatives() {
  const step = at < 0 ? null : explanation.words[at] || { text: "(end)", ...explanation.end };
  alternatives.hidden = !step;
  if (!step) return;
  const before = tokens().slice(0, at);
  const buttons = step.likeliest.map((word) => {
    const button = make("button", { type: "button", className: "wg-alternative" }, make("span", {}, word.text), make("small", {}, percent(word.probability)));
    button.style.setProperty("--p", word.probability);
    if (word.text === step.text) button.setAttribute("aria-current", "true");
    button.onclick = () => word.text === step.text || request("complete", { words: [...before, word.text] });
    return button;
  });
  alternatives.replaceChildren(make("span", {}, before.length ? `After “… ${isolated(before.at(-1))}”` : "First word"), ...buttons);
}

function stop() {
  clearInterval(playing);
  playing = 0;
  part("play").textContent = "Play";
}

function play() {
  if (playing) return stop();
  if (!explanation || !explanation.words.length) return;
  part("play").textContent = "Stop";
  at = -1;
  show(0);
  playing = setInterval(() => (at + 1 < explanation.words.length ? show(at + 1) : stop()), STEP);
}

// ---- the canvas

function move(goal) {
  cancelAnimationFrame(frame);
  const from = shown, before = strength, start = performance.now();
  const after = goal ? 1 : 0;
  const top = goal ? Math.max(...goal, 1e-12) : 1;
  const target = goal ? Float32Array.from(goal, (weight) => weight / top) : from;
  const step = (now) => {
    const t = still.matches ? 1 : Math.min(1, Math.max(0, now - start) / 220), ease = t * t * (3 - 2 * t);
    strength = before + (after - before) * ease;
    shown = from && target ? target.map((weight, i) => from[i] + (weight - from[i]) * ease) : target;
    draw();
    if (t < 1) frame = requestAnimationFrame(step);
  };
  step(start);
}

function draw() {
  if (!photo.naturalWidth) return;
  const pen = canvas.getContext("2d"), { width, height } = canvas;
  pen.globalAlpha = 1;
  pen.drawImage(photo, 0, 0, width, height);
  if (!explanation) return;
  const [rows, columns] = explanation.grid;
  if (shown && strength) {
    const across = 160, down = Math.max(1, Math.round(across * height / width));
    const light = enlarge(shown, rows, columns, down, across), pixels = new ImageData(across, down);
    light.forEach((value, i) => pixels.data.set(ramp[Math.round(255 * Math.min(1, Math.max(0, value)))], 4 * i));
    [veil.width, veil.height] = [across, down];
    veil.getContext("2d").putImageData(pixels, 0, 0);
    pen.globalAlpha = strength;
    pen.imageSmoothingQuality = "high";
    pen.drawImage(veil, 0, 0, width, height);
    pen.globalAlpha = 1;
  }
  if (part("grid").getAttribute("aria-pressed") === "true") lines(pen, rows, columns);
  if (region) outline(pen, region);
}

function lines(pen, rows, columns) {
  const { width, height } = canvas;
  pen.beginPath();
  for (let i = 1; i < columns; i++) pen.rect(Math.round(i * width / columns), 0, 0, height);
  for (let i = 1; i < rows; i++) pen.rect(0, Math.round(i * height / rows), width, 0);
  pen.lineWidth = width / 640;
  pen.strokeStyle = "rgba(255, 255, 255, .5)";
  pen.stroke();
}

function outline(pen, [x0, y0, x1, y1]) {
  const { width, height } = canvas, thick = Math.max(2, width / 320);
  for (const [style, line] of [["#000", 2 * thick], ["#fff", thick]]) {
    pen.lineWidth = line;
    pen.strokeStyle = style;
    pen.strokeRect(x0 * width, y0 * height, (x1 - x0) * width, (y1 - y0) * height);
  }
}

// Bicubic (Keys 1981, a = -1/2), the same that Pillow draws strips and films with.
function enlarge(cells, rows, columns, down, across) {
  const x = taps(columns, across), y = taps(rows, down), wide = new Float32Array(rows * across), out = new Float32Array(down * across);
  for (let r = 0; r < rows; r++) for (let i = 0; i < across; i++)
    for (let k = 0; k < 4; k++) wide[r * across + i] += x[i].share[k] * cells[r * columns + x[i].cell[k]];
  for (let j = 0; j < down; j++) for (let k = 0; k < 4; k++) {
    const share = y[j].share[k], row = y[j].cell[k] * across;
    for (let i = 0; i < across; i++) out[j * across + i] += share * wide[row + i];
  }
  return out;
}

function taps(cells, pixels) {
  return Array.from({ length: pixels }, (_, i) => {
    const centre = (i + 0.5) * cells / pixels - 0.5, base = Math.floor(centre), near = [-1, 0, 1, 2].map((k) => base + k);
    const share = near.map((k) => {
      const d = Math.abs(centre - k);
      return d < 1 ? (1.5 * d - 2.5) * d * d + 1 : d < 2 ? ((-0.5 * d + 2.5) * d - 4) * d + 2 : 0;
    });
    return { cell: near.map((k) => Math.min(cells - 1, Math.max(0, k))), share };
  });
}

// From dark blue (no attention) to amber (most attention); lightness alone distinguishes them, too.
function colours() {
  return Array.from({ length: 256 }, (_, i) => {
    const v = i / 255, dark = 0.78 * (1 - v) ** 1.3, amber = 0.42 * v ** 2, alpha = 1 - (1 - dark) * (1 - amber);
    const mix = (low, high) => Math.round((low * dark * (1 - amber) + high * amber) / Math.max(alpha, 1e-6));
    return [mix(8, 255), mix(13, 176), mix(40, 32), Math.round(255 * alpha)];
  });
}

function place(weights) {
  const [rows, columns] = explanation.grid, top = weights.indexOf(Math.max(...weights));
  const y = (Math.floor(top / columns) + 0.5) / rows, x = (top % columns + 0.5) / columns;
  const third = (value, names) => names[Math.min(2, Math.floor(3 * value))];
  const [high, side] = [third(y, ["upper", "", "lower"]), third(x, ["left", "", "right"])];
  return high || side ? `at the ${[high, side].filter(Boolean).join(" ")} part` : "at the middle";
}

// ---- the other way round: from a region to the words

function spot(event) {
  const box = canvas.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height].map((v) => Math.min(0.9999, Math.max(0, v)));
}

function cell(x, y) {
  const [rows, columns] = explanation.grid, column = Math.floor(x * columns), row = Math.floor(y * rows);
  return [column / columns, row / rows, (column + 1) / columns, (row + 1) / rows];
}

function light(given) {
  region = given;
  const shares = region && explanation.words.map((word) => inside(word.weights, region));
  const even = region && (region[2] - region[0]) * (region[3] - region[1]);
  const most = region && Math.max(...shares, 1e-12);
  [...words.children].forEach((button, i) => {
    const lit = region && shares[i] > 1.25 * even;
    button.classList.toggle("wg-lit", Boolean(lit));
    button.style.setProperty("--lit", lit ? shares[i] / most : 0);
  });
  if (region) {
    const seen = explanation.words.map((word, i) => [shares[i], word.text]).filter(([share]) => share > 1.25 * even).sort((a, b) => b[0] - a[0]);
    status.textContent = seen.length
      ? `Words with attention here: ${seen.slice(0, 4).map(([share, text]) => `“${isolated(text)}” ${percent(share)}`).join(", ")}.`
      : "No word has more attention here than elsewhere.";
  }
  draw();
}

function inside(weights, [x0, y0, x1, y1]) {
  const rows = weights.length, columns = weights[0].length;
  const cover = (low, high, i, n) => Math.max(0, Math.min(high * n, i + 1) - Math.max(low * n, i));
  let sum = 0;
  weights.forEach((line, r) => line.forEach((weight, c) => (sum += weight * cover(x0, x1, c, columns) * cover(y0, y1, r, rows))));
  return sum;
}

let from = null;
canvas.onpointerdown = (event) => {
  if (!explanation || event.button) return;
  stop();
  from = spot(event);
  held = true;
  canvas.setPointerCapture(event.pointerId);
  light(cell(...from));
};
canvas.onpointermove = (event) => {
  if (!explanation || (held && !from)) return;
  const [x, y] = spot(event);
  if (!from) return light(cell(x, y));
  const box = [Math.min(x, from[0]), Math.min(y, from[1]), Math.max(x, from[0]), Math.max(y, from[1])];
  if ((box[2] - box[0]) * (box[3] - box[1]) > 0.001) light(box);
};
canvas.onpointerup = canvas.onpointercancel = () => (from = null);
canvas.onpointerleave = () => explanation && !held && light(null);
canvas.onblur = () => explanation && ((cursor = null), (held = false), light(null));
canvas.onkeydown = (event) => {
  const way = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
  if (!explanation || (!way && event.key !== "Escape")) return;
  event.preventDefault();
  const [rows, columns] = explanation.grid;
  if (!way) return (cursor = null), (held = false), light(null);
  const [row, column] = cursor || [rows >> 1, columns >> 1];
  cursor = cursor ? [(row + way[0] + rows) % rows, (column + way[1] + columns) % columns] : [row, column];
  held = true;
  light([cursor[1] / columns, cursor[0] / rows, (cursor[1] + 1) / columns, (cursor[0] + 1) / rows]);
};

// ---- controls

words.onkeydown = (event) => {
  const last = words.children.length - 1, here = [...words.children].indexOf(document.activeElement);
  const [before, after] = [here ? here - 1 : last, here < last ? here + 1 : 0];
  const [left, right] = words.matches(":dir(rtl)") ? [after, before] : [before, after];
  const next = { ArrowLeft: left, ArrowRight: right, Home: 0, End: last }[event.key];
  if (next === undefined) return;
  event.preventDefault();
  stop();
  words.children[next].focus();
};
part("play").onclick = play;
part("grid").onclick = (event) => {
  const button = event.currentTarget;
  button.setAttribute("aria-pressed", button.getAttribute("aria-pressed") !== "true");
  draw();
};
part("save").onclick = (event) => event.target.dataset.kind && explanation && request("export_file", { kind: event.target.dataset.kind });
part("correct").onsubmit = (event) => {
  event.preventDefault();
  if (explanation) request("correct", { caption: explanation.caption, text: part("text").value });
};

const scale = part("scale").querySelector("canvas").getContext("2d");
ramp.forEach(([r, g, b, a], i) => {
  const over = (colour) => 0.5 * 255 * (1 - a / 255) + colour * a / 255; // on middle grey, as a photograph is
  scale.fillStyle = `rgb(${[r, g, b].map(over).join()})`;
  scale.fillRect(i, 0, 1, 1);
});

// ---- Gradio's picker and messages, in the words of this page

// A file that the browser cannot show, as a TIFF or one that is broken.
const PICKER = "#picture";
for (const [event, isUnshown] of [["error", true], ["load", false]]) {
  document.addEventListener(event, ({ target }) => {
    if (target.matches && target.matches(`${PICKER} img`)) target.closest(PICKER).classList.toggle("wg-unshown", isUnshown);
  }, true);
}

const MESSAGES = [
  [/^Invalid file types?: (.*)\. Only .* allowed\.?$/s, (name) => `${name} is not a picture; choose an image file.`],
  [/^File\(s\) exceed the maximum allowed size of (.*?): (.*)$/s, (size, name) => `${name} is larger than ${size}; choose a smaller file.`],
];
new MutationObserver(() => {
  for (const text of document.querySelectorAll("[data-testid=toast-text]")) {
    const found = MESSAGES.map(([form, say]) => [text.textContent.match(form), say]).find(([match]) => match);
    if (found) text.textContent = found[1](...found[0].slice(1));
  }
}).observe(document.body, { childList: true, subtree: true });

// ---- small things

function make(tag, fields = {}, ...inside) {
  const node = Object.assign(document.createElement(tag), fields);
  node.append(...inside);
  return node;
}

function shade(node, probability) {
  node.style.setProperty("--p", probability);
  node.title = percent(probability);
  return node;
}

function percent(p) {
  const value = 100 * p;
  if (value >= 9.95) return `${value.toFixed(0)}\u00a0%`;
  if (value >= 0.01) return `${value.toPrecision(2)}\u00a0%`;
  if (!p) return "0\u00a0%";
  const [digit, power] = p.toExponential(0).split("e-");
  return `${digit}·10⁻${[...power].map((number) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[number]).join("")}`;
}

function time(seconds) {
  return seconds < 1 ? `${Math.max(1, Math.round(1000 * seconds))} ms` : `${seconds.toFixed(1)} s`;
}
