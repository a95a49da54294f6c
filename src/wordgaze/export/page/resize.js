// Resizes an image as Pillow does: the same numbers, so that a captioner sees the same pixels in a browser as in Python.
//
// A separable filter that is widened by the scale where the image shrinks, in fixed point with 22 bits, first along the
// rows and then along the columns, with 8-bit values in between.

const PRECISION = 22;

const sinc = (x) => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));

const FILTERS = {
  bilinear: { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: {
    support: 2,
    weight: (x) => {
      const a = -0.5;
      x = Math.abs(x);
      if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
      return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
    },
  },
  lanczos: { support: 3, weight: (x) => (Math.abs(x) < 3 ? sinc(x) * sinc(x / 3) : 0) },
};

/**
 * RGBA pixels (height, width, 4) → RGB pixels (3, side, side), resized.
 * @param {{data: Uint8ClampedArray | Uint8Array, width: number, height: number}} image
 * @param {number} side
 * @param {"bilinear" | "bicubic" | "lanczos"} interpolation
 * @returns {Uint8Array}
 */
export function resizePixels(image, side, interpolation) {
  const { data, width, height } = image;
  const across = width === side ? null : coefficients(width, side, FILTERS[interpolation]);
  const down = height === side ? null : coefficients(height, side, FILTERS[interpolation]);
  const output = new Uint8Array(3 * side * side);
  const narrow = new Uint8Array(height * side);
  for (let channel = 0; channel < 3; channel++) {
    for (let y = 0; y < height; y++) {
      const start = y * width * 4 + channel;
      for (let x = 0; x < side; x++) narrow[y * side + x] = across ? mix(data, start, 4, across[x]) : data[start + 4 * x];
    }
    const plane = output.subarray(channel * side * side, (channel + 1) * side * side);
    for (let y = 0; y < side; y++) {
      for (let x = 0; x < side; x++) plane[y * side + x] = down ? mix(narrow, x, side, down[y]) : narrow[y * side + x];
    }
  }
  return output;
}

/** For each output position the first input position and the weights in fixed point. */
function coefficients(inputs, outputs, { support, weight }) {
  const scale = inputs / outputs;
  const widened = Math.max(scale, 1);
  const reach = support * widened;
  return Array.from({ length: outputs }, (_, position) => {
    const center = (position + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - reach + 0.5));
    const end = Math.min(inputs, Math.trunc(center + reach + 0.5));
    const weights = Array.from({ length: end - first }, (_, i) => weight((i + first - center + 0.5) / widened));
    const total = weights.reduce((sum, each) => sum + each, 0);
    const fixed = weights.map((each) => {
      const share = (total ? each / total : each) * 2 ** PRECISION;
      return Math.trunc(share < 0 ? share - 0.5 : share + 0.5);
    });
    return { first, weights: Int32Array.from(fixed) };
  });
}

function mix(values, start, stride, { first, weights }) {
  let sum = 2 ** (PRECISION - 1);
  for (let i = 0, place = start + first * stride; i < weights.length; i++, place += stride) sum += values[place] * weights[i];
  const value = sum >> PRECISION;
  return value < 0 ? 0 : value > 255 ? 255 : value;
}
