// The page: a picture goes in, and its caption comes out word by word.

import { startCaptioner } from "./client.js";
import { openPicture } from "./picture.js";
import { drawAttention, percent, describeAttention } from "./view.js";

const PAUSE = 280; // milliseconds between the words
const OTHERS = 3; // captions of beam search

const $ = (id) => document.getElementById(id);
const isCalm = matchMedia("(prefers-reduced-motion: reduce)");

const state = { picture: null, grid: null, captions: [], caption: 0, word: -1, run: 0 };

const captioner = startCaptioner((share) => {
  $("progress").hidden = share >= 1;
  $("progress").value = share;
});

function say(text, isHeard = false) {
  $("status").textContent = text;
  $("status").classList.toggle("heard", isHeard);
}

function fail(error) {
  say("");
  $("problem").textContent = error.message;
  $("problem").hidden = false;
}

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

async function captionBlob(blob) {
  $("problem").hidden = true;
  try {
    state.picture = await openPicture(blob);
  } catch (error) {
    return fail(error);
  }
  return captionPicture();
}

async function captionPicture() {
  const run = ++state.run;
  const { canvas, imageData } = state.picture;
  drawAttention($("picture"), canvas);
  $("words").replaceChildren();
  for (const id of ["word", "others"]) $(id).hidden = true;
  $("probability").textContent = "";
  $("result").hidden = false;
  say("Looking at the picture …");
  const isBeam = $("strategy").value === "beam";
  const beams = Number($("beams").value);
  const options = isBeam ? { strategy: "beam", num_beams: beams, num_return_sequences: OTHERS } : { strategy: "greedy", num_return_sequences: 1 };
  const started = performance.now();
  try {
    const { grid, captions } = await captioner.caption(imageData, options);
    if (run !== state.run) return;
    Object.assign(state, { grid, captions });
    document.documentElement.dataset.milliseconds = String(Math.round(performance.now() - started));
    showOthers();
    await showCaption(0, run);
  } catch (error) {
    if (run === state.run) fail(error);
  }
}

function showOthers() {
  $("others").hidden = state.captions.length < 2;
  $("captions").replaceChildren(...state.captions.map((caption, number) => {
    const button = element("button", { type: "button", textContent: caption.text });
    button.addEventListener("click", () => showCaption(number, ++state.run));
    return element("li", {}, button);
  }));
}

async function showCaption(number, run) {
  state.caption = number;
  const { text, words, logProb } = state.captions[number];
  $("captions").querySelectorAll("button").forEach((button, i) => button.setAttribute("aria-pressed", String(i === number)));
  $("words").replaceChildren();
  $("word").hidden = true;
  say("");
  for (const [index, word] of words.entries()) {
    const button = element("button", { type: "button", textContent: word.text, tabIndex: index ? -1 : 0 });
    button.addEventListener("click", () => chooseWord(index));
    $("words").append(button);
    markWord(index);
    if (!isCalm.matches) await new Promise((resolve) => setTimeout(resolve, PAUSE));
    if (run !== state.run) return;
  }
  say(`Caption: ${text}.`, true);
  $("probability").textContent = `Probability of the caption: ${percent(Math.exp(logProb))}`;
  if (words.length) chooseWord(0);
}

/** Lights up a word and its attention. */
function markWord(index) {
  state.word = index;
  [...$("words").children].forEach((button, i) => {
    button.setAttribute("aria-pressed", String(i === index));
    button.tabIndex = i === index ? 0 : -1;
  });
  drawAttention($("picture"), state.picture.canvas, state.grid, state.captions[state.caption].words[index].attention);
}

/** Marks a word and tells about it. */
function chooseWord(index) {
  markWord(index);
  const caption = state.captions[state.caption];
  const word = caption.words[index];
  const described = describeAttention(state.grid, word.attention);
  $("picture").setAttribute("aria-label", `The picture, captioned “${caption.text}”. The word “${word.text}”: ${described}`);
  $("word-title").textContent = `“${word.text}”, ${percent(word.probability)}`;
  $("attention").textContent = described;
  const rows = word.alternatives.map(({ text, probability }) => {
    const bar = element("span", { className: "bar" });
    bar.style.width = `${100 * probability}%`;
    const row = element("tr", {}, element("td", { textContent: text || "(end)" }), element("td", {}, bar), element("td", { textContent: percent(probability) }));
    row.classList.toggle("chosen", text === word.text);
    return row;
  });
  $("alternatives").tBodies[0].replaceChildren(...rows);
  $("word").hidden = false;
}

function moveBetweenWords(event) {
  const last = $("words").children.length - 1;
  const next = { ArrowLeft: state.word - 1, ArrowRight: state.word + 1, Home: 0, End: last }[event.key];
  if (next === undefined || last < 0) return;
  event.preventDefault();
  state.run++; // an unfinished show of the words ends
  chooseWord(Math.min(Math.max(next, 0), last));
  $("words").children[state.word].focus();
}

async function showExamples() {
  const response = await fetch("conformance/conformance.json");
  if (!response.ok) return;
  const { images } = await response.json();
  $("examples").replaceChildren(...images.map(({ file }) => {
    const name = file.replace(/\.png$/, "");
    const button = element("button", { type: "button" }, element("img", { src: `conformance/${file}`, alt: `Example: ${name}` }));
    button.addEventListener("click", async () => captionBlob(await (await fetch(`conformance/${file}`)).blob()));
    return element("li", {}, button);
  }));
  $("examples").hidden = false;
}

function listen() {
  for (const id of ["file", "camera"]) {
    $(id).addEventListener("change", ({ target }) => {
      const [file] = target.files;
      target.value = "";
      if (file) captionBlob(file);
    });
  }
  addEventListener("dragover", (event) => {
    event.preventDefault();
    $("choose").classList.add("over");
  });
  addEventListener("dragleave", () => $("choose").classList.remove("over"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    $("choose").classList.remove("over");
    const [file] = event.dataTransfer.files;
    if (file) captionBlob(file);
    else fail(new Error("That was not a file. Drop a picture from your device."));
  });
  addEventListener("paste", (event) => {
    const [file] = event.clipboardData.files;
    if (file) captionBlob(file);
  });
  $("words").addEventListener("keydown", moveBetweenWords);
  for (const id of ["strategy", "beams"]) {
    $(id).addEventListener("change", () => {
      $("beams-label").hidden = $("strategy").value !== "beam";
      if (state.picture) captionPicture();
    });
  }
}

/** After the models, so that they are not loaded twice at the same time. */
async function keepOffline() {
  if (!("serviceWorker" in navigator)) return;
  await navigator.serviceWorker.register("service-worker.js");
  await navigator.serviceWorker.ready;
  $("offline").textContent = "This page also works offline.";
}

async function start() {
  listen();
  showExamples().catch(() => {}); // a page without a conformance set has no examples
  say("Loading the models …");
  try {
    await captioner.load();
    if (!state.picture) say("Ready.");
    document.documentElement.dataset.ready = "true";
  } catch (error) {
    return fail(error);
  }
  return keepOffline().catch(() => {}); // it works, but not offline
}

if (!window.wordgazeCannotStart) start();
