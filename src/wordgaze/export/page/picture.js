// Opens a picture as wordgaze does in Python: upright, transparency on white.

import { CaptionerError } from "./captioner.js";

const MAX_PIXELS = 16_000_000; // more than some phones can draw

/** A file or a response's blob → `{canvas, imageData}`. */
export async function openPicture(blob) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none" });
  } catch {
    const name = blob.name ? `“${blob.name}”` : "What was given";
    const isHeic = /hei[cf]/i.test(`${blob.type} ${blob.name ?? ""}`);
    throw new CaptionerError(isHeic
      ? `${name} is a HEIC picture, which this browser cannot open. Choose it as a JPEG.`
      : `${name} is not a picture that this browser can open. Choose a JPEG, PNG or WebP file.`);
  }
  const scale = Math.min(1, Math.sqrt(MAX_PIXELS / (bitmap.width * bitmap.height)));
  const width = Math.max(1, Math.round(bitmap.width * scale)), height = Math.max(1, Math.round(bitmap.height * scale));
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
  return { canvas, imageData: context.getImageData(0, 0, width, height) };
}
