/** How captions are generated; the names are those of wordgaze's GenerationConfig. */
export interface CaptionOptions {
  strategy?: "greedy" | "beam";
  num_return_sequences?: number;
  max_new_tokens?: number;
  min_new_tokens?: number;
  num_beams?: number;
  length_penalty?: number;
  length_normalisation?: "power" | "wu";
  no_repeat_ngram_size?: number;
  bad_words?: string[];
}

/** A word that could stand in a place, with its probability; an empty text is the end of the caption. */
export interface WordProbability {
  text: string;
  probability: number;
}

export interface CaptionWord extends WordProbability {
  /** The natural logarithm of the probability. */
  logProb: number;
  /** The attention of the word: rows · columns weights of the grid in row-major order, at most 1 in sum. */
  attention: number[];
  /** The most probable words of this place, best first. */
  alternatives: WordProbability[];
}

export interface Caption {
  text: string;
  words: CaptionWord[];
  /** The natural logarithm of the probability of the caption, its end included. */
  logProb: number;
  score: number;
  finishReason: "end" | "length" | "stuck";
}

export interface CaptionResult {
  /** (rows, columns) of the grid that the attention lies over. */
  grid: [number, number];
  /** The captions, best first. */
  captions: Caption[];
}

export interface Captioner {
  /** The contents of config.json. */
  readonly card: Record<string, unknown>;
  /** Captions an image of any size: RGBA pixels, of which A is ignored. */
  caption(imageData: { data: Uint8ClampedArray | Uint8Array; width: number; height: number }, options?: CaptionOptions): Promise<CaptionResult>;
  /** Frees the memory of the captioner. */
  release(): Promise<void>;
}

/** An error whose message is a sentence for people. */
export class CaptionerError extends Error {}

/**
 * Loads the captioner of the folder `base`, by default the one of this module.
 * `onProgress` is called with the share of the models that is loaded, 0…1.
 */
export function loadCaptioner(options?: { base?: string; onProgress?: (share: number) => void }): Promise<Captioner>;
