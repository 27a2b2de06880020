// Colours: Okabe and Ito's for kinds, viridis for what has an order

const KINDS = {
  light: [
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#b58900",
    "#56b4e9",
    "#7a5195",
    "#8c6d31",
    "#4d4d4d",
  ],
  dark: [
    "#56b4e9",
    "#e69f00",
    "#2bc59a",
    "#e59cc4",
    "#f0e442",
    "#4f8fe0",
    "#b79ced",
    "#d0a060",
    "#bbbbbb",
  ],
};
const VIRIDIS = [
  "#440154",
  "#482878",
  "#3e4989",
  "#31688e",
  "#26828e",
  "#1f9e89",
  "#35b779",
  "#6ece58",
  "#b5de2b",
  "#fde725",
];
const SYMBOLS = [
  "circle",
  "square",
  "diamond",
  "triangle-up",
  "x",
  "triangle-down",
  "star",
  "pentagon",
  "hexagon",
];

const printing = window.matchMedia("print");
const darkness = window.matchMedia("(prefers-color-scheme: dark)");
const isDark = () => darkness.matches && !printing.matches;
const kinds = () => KINDS[isDark() ? "dark" : "light"];

function ordered(count) {
  const [from, to] = isDark() ? [2.5, 9] : [0, 7.6];
  return Array.from({ length: count }, (_, i) =>
    mix(count === 1 ? from : from + ((to - from) * i) / (count - 1)),
  );
}

function mix(place) {
  const low = Math.min(Math.floor(place), VIRIDIS.length - 2);
  const part = place - low;
  const channel = (text, at) => parseInt(text.slice(at, at + 2), 16);
  const hex = [1, 3, 5].map((at) => {
    const value = channel(VIRIDIS[low], at) * (1 - part) + channel(VIRIDIS[low + 1], at) * part;
    return Math.round(value).toString(16).padStart(2, "0");
  });
  return `#${hex.join("")}`;
}

// Values of an axis with a colour and a sign each: [{value, text, color, symbol}].
function groupsBy(name) {
  const values = name ? data.axes[name] : [];
  if (values.length < 2) return [{ value: null, text: "", color: kinds()[0], symbol: "circle" }];
  const numbers = values.every((value) => typeof value === "number");
  const colors = numbers || values.length > kinds().length ? ordered(values.length) : kinds();
  return values.map((value, i) => ({
    value,
    text: shown(name, value),
    color: colors[i],
    symbol: SYMBOLS[i % SYMBOLS.length],
  }));
}

const inGroup = (point, name, group) =>
  group.value === null || same(valueOf(point, name), group.value);
