// The captioner in its worker, as promises.

import { CaptionerError } from "./captioner.js";

/** Starts the worker; `onProgress` is called with the share of the models that is loaded. */
export function startCaptioner(onProgress = () => {}) {
  const waiting = new Map();
  let number = 0, broken = null;
  const worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  worker.onmessage = ({ data }) => {
    if (data.progress !== undefined) return onProgress(data.progress);
    const { resolve, reject } = waiting.get(data.id);
    waiting.delete(data.id);
    return data.error === undefined ? resolve(data.result) : reject(new CaptionerError(data.error));
  };
  worker.onerror = (event) => {
    event.preventDefault();
    broken = new CaptionerError("The captioner stopped, probably for lack of memory. Close other tabs and reload the page.");
    for (const { reject } of waiting.values()) reject(broken);
    waiting.clear();
  };
  const ask = (message) => new Promise((resolve, reject) => {
    if (broken) return reject(broken);
    waiting.set(++number, { resolve, reject });
    return worker.postMessage({ ...message, id: number });
  });
  return {
    /** Loads the models. */
    load: () => ask({}),
    /** The captions of pixels, as `Captioner.caption` gives them. */
    caption: (image, options) => ask({ image: { data: image.data, width: image.width, height: image.height }, options }),
  };
}
