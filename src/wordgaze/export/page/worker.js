// Runs the captioner in a thread of its own, so that the page stays responsive.

import { CaptionerError, loadCaptioner } from "./captioner.js";

let loading = null;

self.onmessage = async ({ data: { id, image, options } }) => {
  try {
    loading ??= loadCaptioner({ onProgress: (share) => self.postMessage({ progress: share }) });
    const captioner = await loading;
    const result = image ? await captioner.caption(image, options) : { generation: captioner.card.generation };
    self.postMessage({ id, result });
  } catch (error) {
    loading = error instanceof CaptionerError && image ? loading : null; // a failed download is tried again
    const message = error instanceof CaptionerError ? error.message : `The captioner failed (${error?.message ?? error}). Reload the page.`;
    self.postMessage({ id, error: message });
  }
};
