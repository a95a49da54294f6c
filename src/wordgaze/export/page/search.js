// Greedy and beam search. The rules are those of wordgaze's numpy_search.py, and the tests compare the captions of both.

export const PAD = 0, START = 1, END = 2, UNK = 3;

export const DEFAULTS = {
  strategy: "beam",
  num_return_sequences: 1,
  max_new_tokens: 20,
  min_new_tokens: 0,
  num_beams: 5,
  length_penalty: 0.7,
  length_normalisation: "power",
  no_repeat_ngram_size: 0,
  bad_words: [],
};

/**
 * The captions of one image, best first.
 * @param {{start(): Promise<any>, step(words: number[], step: number, states: any, parents: number[]): Promise<any>}} model
 *   a decoder that has encoded the image; `step` gives `{logProbs, weights, states}`: for each hypothesis an array (V) and
 *   an array (L), and states that only the model reads. `parents` are the rows of `states` that the words follow.
 * @param {string[]} vocabulary
 * @param {Partial<typeof DEFAULTS>} options
 */
export async function search(model, vocabulary, options = {}) {
  const config = { ...DEFAULTS, ...options };
  const width = config.strategy === "greedy" ? 1 : config.num_beams;
  const wanted = config.num_return_sequences;
  const never = [PAD, START, UNK, ...config.bad_words.map((word) => vocabulary.indexOf(word)).filter((id) => id > UNK)];
  const divisor = (length) =>
    (config.length_normalisation === "wu" ? (5 + length) / 6 : length) ** config.length_penalty;
  const finish = (row, end, length, reason) => ({
    ...row, endLogProb: end, score: (row.total + (end ?? 0)) / divisor(length), finishReason: reason,
  });
  const canImprove = (row, found) => {
    if (found.length < wanted) return true;
    if (width === 1) return false;
    return row.total / divisor(config.max_new_tokens + 1) > ranked(found)[wanted - 1].score;
  };

  let rows = [{ ids: [], logProbs: [], weights: [], steps: [], total: 0 }];
  let states = await model.start();
  let parents = [0];
  const found = [];
  for (let length = 0; length < config.max_new_tokens && rows.length; length++) {
    const words = rows.map((row) => row.ids.at(-1) ?? START);
    const output = await model.step(words, length, states, parents);
    states = output.states;
    const candidates = rows.flatMap((row, index) => {
      const forbidden = new Set([...never, ...repeated(row.ids, config.no_repeat_ngram_size)]);
      if (length < config.min_new_tokens) forbidden.add(END);
      return best(output.logProbs[index], width + 1, forbidden).map((id) => {
        return { index, id, score: Math.fround(row.total + output.logProbs[index][id]) };
      });
    });
    candidates.sort((a, b) => b.score - a.score);
    for (const { index, id } of candidates.slice(0, width)) {
      if (id === END) found.push(finish({ ...rows[index], last: output.logProbs[index] }, output.logProbs[index][END], length + 1, "end"));
    }
    const kept = candidates.filter(({ id }) => id !== END).slice(0, width);
    if (!kept.length && !found.length) found.push(finish(rows.reduce((a, b) => (b.total > a.total ? b : a)), null, Math.max(1, length), "stuck"));
    const extended = kept.map(({ index, id, score }) => ({
      index,
      row: {
        ids: [...rows[index].ids, id],
        logProbs: [...rows[index].logProbs, output.logProbs[index][id]],
        weights: [...rows[index].weights, output.weights[index]],
        steps: [...rows[index].steps, output.logProbs[index]],
        total: score,
      },
    })).filter(({ row }) => canImprove(row, found));
    rows = extended.map(({ row }) => row);
    parents = extended.map(({ index }) => index);
  }
  for (const row of rows.sort((a, b) => b.total - a.total)) {
    if (found.length < wanted) found.push(finish(row, null, Math.max(1, row.ids.length), "length"));
  }
  return ranked(found).slice(0, wanted);
}

/** The `k` most probable words of log-probabilities (V), best first, without the forbidden ones. */
export function best(logProbs, k, forbidden) {
  const ids = [];
  for (let id = 0; id < logProbs.length; id++) {
    const value = logProbs[id];
    if (ids.length === k && !(value > logProbs[ids[k - 1]])) continue;
    if (forbidden.has(id) || value === -Infinity) continue;
    let place = ids.length;
    while (place > 0 && logProbs[ids[place - 1]] < value) place--;
    ids.splice(place, 0, id);
    if (ids.length > k) ids.pop();
  }
  return ids;
}

/** The words that would complete an n-gram of `size` words that a caption has already. */
function repeated(ids, size) {
  if (!size || ids.length < size) return [];
  const last = ids.slice(ids.length - size + 1).join(" ");
  const starts = Array.from({ length: ids.length - size + 1 }, (_, i) => i);
  return starts.filter((i) => ids.slice(i, i + size - 1).join(" ") === last).map((i) => ids[i + size - 1]);
}

/** The logarithm of the softmax of logits (V). */
export function logSoftmax(logits) {
  let greatest = -Infinity;
  for (const value of logits) if (value > greatest) greatest = value;
  let sum = 0;
  for (const value of logits) sum += Math.exp(value - greatest);
  const offset = greatest + Math.log(sum);
  return Float32Array.from(logits, (value) => value - offset);
}

const ranked = (found) => [...found].sort((a, b) => b.score - a.score);
