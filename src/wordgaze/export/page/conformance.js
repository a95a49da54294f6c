// The runner of the conformance set in the browser. `window.conformance` becomes the list of results.

import { startCaptioner } from "./client.js";
import { openPicture } from "./picture.js";

const $ = (id) => document.getElementById(id);

async function run() {
  const captioner = startCaptioner();
  const { images, settings, tolerance } = await (await fetch("conformance/conformance.json")).json();
  const results = [];
  for (const { file, captions } of images) {
    const { imageData } = await openPicture(await (await fetch(`conformance/${file}`)).blob());
    for (const [setting, expected] of Object.entries(captions)) {
      const { captions: [actual] } = await captioner.caption(imageData, settings[setting]);
      results.push(compare(file, setting, expected, actual));
      show(results.at(-1), tolerance);
    }
  }
  const equal = results.filter((each) => each.sameWords).length;
  $("status").textContent = `${equal} of ${results.length} captions have the same words.`;
  window.conformance = results;
}

function compare(file, setting, expected, actual) {
  const words = actual.words.map(({ text }) => text);
  const sameWords = words.join("\n") === expected.words.join("\n");
  const pairs = [[expected.log_prob, actual.logProb], ...expected.word_log_probs.map((each, i) => [each, actual.words[i]?.logProb])];
  const deviation = sameWords ? Math.max(...pairs.map(([a, b]) => Math.abs(a - b))) : null;
  return { file, setting, words, logProb: actual.logProb, sameWords, deviation };
}

function show({ file, setting, words, sameWords, deviation }, tolerance) {
  const row = document.createElement("tr");
  const difference = sameWords ? `${deviation.toExponential(1)}${deviation > tolerance ? ", more than the tolerance" : ""}` : "other words";
  for (const text of [file, setting, words.join(" "), difference]) {
    row.append(Object.assign(document.createElement("td"), { textContent: text }));
  }
  $("rows").append(row);
}

if (!window.wordgazeCannotStart) {
  run().catch((error) => {
    $("status").textContent = "";
    $("problem").textContent = error.message;
    $("problem").hidden = false;
  });
}
