// Captions images in the browser: `const captioner = await loadCaptioner(); await captioner.caption(imageData)`.
//
// The types are in captioner.d.ts. Nothing is sent anywhere: all files come from the folder of this module.

import { DEFAULTS, END, PAD, START, UNK, best, logSoftmax, search } from "./search.js";
import { resizePixels } from "./resize.js";

const GRAPHS = ["encoder.onnx", "decoder_init.onnx", "decoder_step.onnx"];
const RUNTIME = "ort/ort.wasm.bundle.min.mjs", RUNTIME_BINARY = "ort/ort-wasm.gzip";
const ALTERNATIVES = 5;
const VERSION = 1;

// A module of one function that uses a SIMD instruction.
const SIMD = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11];

/** An error whose message is a sentence for people. */
export class CaptionerError extends Error {
  name = "CaptionerError";
}

export async function loadCaptioner({ base = new URL(".", import.meta.url).href, onProgress = () => {} } = {}) {
  if (typeof WebAssembly !== "object" || !WebAssembly.validate(Uint8Array.from(SIMD))) {
    throw new CaptionerError("This browser has no WebAssembly with SIMD, which the captioner needs. Use a current version of Firefox, Chrome, Edge or Safari.");
  }
  const url = (name) => new URL(name, base).href;
  const card = readCard(await download(url("config.json"), "config.json"));
  const total = GRAPHS.reduce((sum, name) => sum + card.files[name].bytes, 0);
  let loaded = 0;
  const [ort, binary, ...graphs] = await Promise.all([
    import(url(RUNTIME)),
    decompress(await download(url(RUNTIME_BINARY), RUNTIME_BINARY)),
    ...GRAPHS.map((name) => checkedGraph(url(name), name, card.files[name], (bytes) => onProgress((loaded += bytes) / total))),
  ]);
  ort.env.wasm.wasmBinary = binary;
  ort.env.wasm.numThreads = 1; // more need headers that few static servers send
  ort.env.logLevel = "error";
  const sessions = [];
  for (const [number, graph] of graphs.entries()) {
    const isCalibrated = card.calibrated && number === 0;
    const extra = isCalibrated ? {} : { session: { disable_quant_qdq: "1" } }; // stored weights are widened once
    try {
      sessions.push(await ort.InferenceSession.create(graph, { executionProviders: ["wasm"], extra }));
    } catch (error) {
      throw explained(error, `${GRAPHS[number]} cannot be run by ONNX Runtime Web ${ort.env.versions?.web ?? ""}: export the captioner again with the present version of wordgaze.`);
    }
    graphs[number] = null; // the session has a copy
  }
  return new Captioner(ort, card, sessions);
}

class Captioner {
  #ort; #encoder; #init; #step;

  constructor(ort, card, [encoder, init, step]) {
    this.#ort = ort;
    [this.#encoder, this.#init, this.#step] = [encoder, init, step];
    this.card = card;
  }

  async caption(imageData, options = {}) {
    const { image_size: side, interpolation, grid } = this.card.transform;
    const config = { ...DEFAULTS, ...pick(this.card.generation, DEFAULTS), ...options };
    if (!["greedy", "beam"].includes(config.strategy)) {
      throw new CaptionerError(`There is no strategy ${config.strategy} in the browser; use greedy or beam.`);
    }
    const pixels = resizePixels(imageData, side, interpolation);
    const { features } = await this.#run(this.#encoder, { pixels: new this.#ort.Tensor("uint8", pixels, [1, 3, side, side]) });
    const started = await this.#run(this.#init, { features });
    const found = await search(this.#decoder(started), this.card.vocabulary, config);
    return { grid, captions: found.map((each) => this.#caption(each)) };
  }

  async release() {
    await Promise.all([this.#encoder, this.#init, this.#step].map((session) => session.release()));
  }

  #decoder(started) {
    const { memory, states: names } = this.card;
    const { Tensor } = this.#ort;
    const fixed = Object.fromEntries(memory.map((name) => [name, started[name]]));
    return {
      start: async () => names.map((name) => started[name].data),
      step: async (words, step, states, parents) => {
        const inputs = {
          ...fixed,
          words: new Tensor("int64", BigInt64Array.from(words, BigInt), [1, words.length]),
          step: new Tensor("float32", [step], [1]),
        };
        names.forEach((name, i) => {
          const width = started[name].dims[2];
          inputs[name] = new Tensor("float32", chosenRows(states[i], parents, width), [1, words.length, width]);
        });
        const outputs = await this.#run(this.#step, inputs);
        return {
          logProbs: rowsOf(outputs.logits).map(logSoftmax),
          weights: rowsOf(outputs.weights),
          states: names.map((name) => outputs[`next_${name}`].data),
        };
      },
    };
  }

  #caption(found) {
    const { vocabulary, separator } = this.card;
    const words = found.ids.map((id) => vocabulary[id]);
    const likeliest = (logProbs) =>
      best(logProbs, ALTERNATIVES, new Set([PAD, START, UNK])).map((id) => ({
        text: id === END ? "" : vocabulary[id],
        probability: Math.exp(logProbs[id]),
      }));
    return {
      text: words.join(separator),
      words: words.map((text, i) => ({
        text,
        logProb: found.logProbs[i],
        probability: Math.exp(found.logProbs[i]),
        attention: Array.from(found.weights[i]),
        alternatives: likeliest(found.steps[i]),
      })),
      logProb: found.logProbs.reduce((sum, each) => sum + each, 0) + (found.endLogProb ?? 0),
      score: found.score,
      finishReason: found.finishReason,
    };
  }

  async #run(session, inputs) {
    try {
      return await session.run(inputs);
    } catch (error) {
      throw explained(error, "The captioner could not compute the caption: export it again with the present version of wordgaze.");
    }
  }
}

function readCard(bytes) {
  let card;
  try {
    card = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    card = null;
  }
  if (card?.format !== "wordgaze-onnx") throw new CaptionerError("config.json is not that of a captioner: export the captioner again with wordgaze export --to web.");
  if (card.version !== VERSION) throw new CaptionerError(`config.json has version ${card.version}, and this page reads version ${VERSION}: export the captioner again, page and models together.`);
  return card;
}

async function checkedGraph(url, name, record, onBytes) {
  const bytes = await download(url, name, onBytes);
  if (bytes.length !== record.bytes) {
    throw new CaptionerError(`${name} has ${bytes.length} bytes, not ${record.bytes}: it was not copied completely. Copy the folder again and reload the page.`);
  }
  if (globalThis.crypto?.subtle) { // pages without https have none
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    const hex = Array.from(digest, (each) => each.toString(16).padStart(2, "0")).join("");
    if (hex !== record.sha256) throw new CaptionerError(`${name} is not the file that was exported. Copy the folder again and reload the page.`);
  }
  return bytes;
}

async function download(url, name, onBytes = () => {}) {
  let response;
  try {
    response = await fetch(url);
  } catch {
    throw new CaptionerError(`${name} cannot be loaded. Check the connection and reload the page.`);
  }
  if (!response.ok) throw new CaptionerError(`${name} is missing on the server (status ${response.status}). Copy the whole folder that was exported.`);
  const parts = [];
  const reader = response.body.getReader();
  try {
    for (let part; !(part = await reader.read()).done; ) {
      parts.push(part.value);
      onBytes(part.value.length);
    }
  } catch {
    throw new CaptionerError(`${name} was interrupted. Check the connection and reload the page.`);
  }
  return joined(parts);
}

function joined(parts) {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let place = 0;
  for (const part of parts) {
    bytes.set(part, place);
    place += part.length;
  }
  return bytes;
}

/** The runtime is stored compressed, because few static servers compress what they send. */
async function decompress(bytes) {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes.buffer; // the server has decompressed it
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  try {
    return await new Response(stream).arrayBuffer();
  } catch {
    throw new CaptionerError(`${RUNTIME_BINARY} is broken. Copy the folder again and reload the page.`);
  }
}

function explained(error, sentence) {
  const text = String(error?.message ?? error);
  if (error instanceof RangeError || /memory|allocat|OOM/i.test(text)) {
    return new CaptionerError("There is not enough memory for the captioner. Close other tabs and reload the page.", { cause: error });
  }
  return new CaptionerError(`${sentence} (${text.slice(0, 200)})`, { cause: error });
}

/** The rows (V) of a tensor (1, R, V). */
function rowsOf({ data, dims }) {
  return Array.from({ length: dims[1] }, (_, row) => data.slice(row * dims[2], (row + 1) * dims[2]));
}

function chosenRows(values, rows, width) {
  const chosen = new Float32Array(rows.length * width);
  rows.forEach((row, i) => chosen.set(values.subarray(row * width, (row + 1) * width), i * width));
  return chosen;
}

const pick = (from, names) => Object.fromEntries(Object.keys(names).filter((name) => name in from).map((name) => [name, from[name]]));
