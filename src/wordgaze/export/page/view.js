// How attention is drawn over a picture and told in words.

/** Draws a picture on a canvas, and the attention of a word: the rest of the picture is dimmed. */
export function drawAttention(canvas, picture, grid, attention) {
  canvas.width = picture.width;
  canvas.height = picture.height;
  const context = canvas.getContext("2d");
  context.drawImage(picture, 0, 0);
  if (!attention) return;
  const [rows, columns] = grid;
  const shade = new OffscreenCanvas(columns, rows);
  const pixels = new ImageData(columns, rows);
  const greatest = Math.max(...attention, 1e-9);
  attention.forEach((weight, cell) => (pixels.data[4 * cell + 3] = Math.round(190 * (1 - Math.sqrt(weight / greatest)))));
  shade.getContext("2d").putImageData(pixels, 0, 0);
  context.imageSmoothingEnabled = true;
  context.imageSmoothingQuality = "high";
  context.drawImage(shade, 0, 0, picture.width, picture.height);
}

const ROWS = ["at the top", "in the middle", "at the bottom"];
const COLUMNS = ["on the left", "in the centre", "on the right"];

/** The attention of a word, for those who do not see the picture: the ninth of it with most attention, and its share. */
export function describeAttention(grid, attention) {
  const [rows, columns] = grid;
  const ninths = new Array(9).fill(0);
  attention.forEach((weight, cell) => {
    const row = Math.floor((3 * Math.floor(cell / columns)) / rows);
    ninths[3 * row + Math.floor((3 * (cell % columns)) / columns)] += weight;
  });
  const total = ninths.reduce((sum, each) => sum + each, 0);
  if (total < 0.05) return "It has no attention on the picture: the words before it decide this word.";
  const place = ninths.indexOf(Math.max(...ninths));
  const where = place === 4 ? "in the centre" : [ROWS[Math.floor(place / 3)], COLUMNS[place % 3]].filter((each) => !/middle|centre/.test(each)).join(" ");
  const away = total < 0.8 ? ` ${percent(1 - total)} of its attention is on the words before it.` : "";
  return `Most of its attention is ${where}: ${percent(ninths[place])}.${away}`;
}

/** A probability for people: "37 %", "under 1 %". */
export function percent(probability) {
  return probability > 0 && probability < 0.01 ? "under 1 %" : `${Math.round(100 * probability)} %`;
}
