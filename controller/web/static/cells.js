/* How one node looks on the map: a shape and a colour for its health, a frame, bars and a corner for what is done.
   Drawn on canvas, because ten thousand elements would take a second; the legend is drawn by the same hand. */
const TONES = { o: "ok", d: "degraded", f: "failed", u: "unknown" };
const colours = {};

export function readColours() {
  const probe = document.createElement("span");
  document.body.append(probe);
  const resolved = (name) => {
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  };
  for (const [letter, tone] of Object.entries(TONES)) {
    colours[letter] = { strong: resolved(`--${tone}`), soft: resolved(`--${tone}-soft`) };
  }
  colours.active = resolved("--active");
  colours.panel = resolved("--panel");
  colours.text = resolved("--text");
  probe.remove();
}

const SHAPES = {
  o(pen, x, y, size) {
    pen.beginPath();
    pen.arc(x + size / 2, y + size / 2, size * 0.24, 0, 7);
    pen.fill();
  },
  d(pen, x, y, size) {
    pen.beginPath();
    pen.moveTo(x + size / 2, y + size * 0.14);
    pen.lineTo(x + size * 0.9, y + size * 0.86);
    pen.lineTo(x + size * 0.1, y + size * 0.86);
    pen.fill();
  },
  f(pen, x, y, size) {
    pen.fillRect(x, y, size, size);
  },
  u(pen, x, y, size) {
    pen.font = `700 ${size * 0.95}px system-ui, sans-serif`;
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    pen.fillText("?", x + size / 2, y + size * 0.55);
  },
};

export function drawCell(pen, node, x, y, size) {
  const { strong, soft } = colours[node.health];
  const isWell = node.health === "o";
  pen.fillStyle = soft;
  pen.fillRect(x, y, size, size);
  pen.fillStyle = strong;
  if (node.paused && isWell) wellAndPaused(pen, x, y, size);
  else SHAPES[node.health](pen, x, y, size);
  if (node.held) frame(pen, x, y, size, strong);
  if (node.doing) corner(pen, x, y, size);
  if (node.paused && !isWell) bars(pen, x, y, size);
}

function frame(pen, x, y, size, colour) {
  pen.strokeStyle = colour;
  pen.lineWidth = Math.max(1, size / 9);
  pen.setLineDash([size / 4, size / 6]);
  pen.strokeRect(x - 0.5, y - 0.5, size + 1, size + 1);
  pen.setLineDash([]);
}

function corner(pen, x, y, size) {
  pen.fillStyle = colours.panel;
  pen.beginPath();
  pen.moveTo(x + size * 0.36, y - 1);
  pen.lineTo(x + size + 1, y - 1);
  pen.lineTo(x + size + 1, y + size * 0.64);
  pen.fill();
  pen.fillStyle = colours.active;
  pen.beginPath();
  pen.moveTo(x + size * 0.52, y - 1);
  pen.lineTo(x + size + 1, y - 1);
  pen.lineTo(x + size + 1, y + size * 0.48);
  pen.fill();
}

function bars(pen, x, y, size) {
  pen.fillStyle = colours.panel;
  pen.fillRect(x, y + size * 0.42, size * 0.62, size * 0.58);
  pen.fillStyle = colours.text;
  pen.fillRect(x + size * 0.06, y + size * 0.5, size * 0.16, size * 0.5);
  pen.fillRect(x + size * 0.34, y + size * 0.5, size * 0.16, size * 0.5);
}

function wellAndPaused(pen, x, y, size) {
  pen.fillRect(x + size * 0.24, y + size * 0.2, size * 0.18, size * 0.6);
  pen.fillRect(x + size * 0.58, y + size * 0.2, size * 0.18, size * 0.6);
}

/* Make a canvas of this many CSS pixels, sharp on any screen, and return its pen. */
export function penFor(canvas, width, height) {
  const ratio = devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
  if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  return pen;
}
