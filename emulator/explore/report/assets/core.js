// What all parts share: the data, numbers with units, elements, the filter, colours.
const data = JSON.parse(document.getElementById("data").textContent);
const columns = data.points;
const inputs = new Map(data.inputs.map((each) => [each.name, each]));
const metrics = new Map(data.metrics.map((each) => [each.name, each]));
const varied = Object.keys(data.axes);

const points = columns.key.map((key, i) => ({
  i, key,
  status: columns.status[i],
  reason: columns.reason[i],
  note: columns.note[i],
  front: columns.front[i],
  detail: data.details[i],
}));

function valueOf(point, name) {
  const column = columns.inputs[name] || columns.metrics[name];
  return column[point.i];
}

// ---- elements: texts are never taken for markup

function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

function choice(label, options, chosen, changed) {
  const select = el("select", { onchange: () => changed(select.value) });
  for (const option of options) {
    const [value, shown] = Array.isArray(option) ? option : [option, option];
    select.append(el("option", { value, selected: value === chosen }, shown));
  }
  return el("label", {}, el("span", {}, label), select);
}

function tick(label, on, changed) {
  const box = el("input", { type: "checkbox", checked: on, onchange: () => changed(box.checked) });
  return el("label", { class: "tick" }, box, el("span", {}, label));
}

// ---- numbers

const SI = [["P", 1e15], ["T", 1e12], ["G", 1e9], ["M", 1e6], ["k", 1e3], ["", 1]];
const SMALL = [["", 1], ["m", 1e-3], ["u", 1e-6], ["n", 1e-9], ["p", 1e-12]];

// The unit in which a number of this size reads well: {factor, unit}.
function scaleOf(unit, size) {
  if (!unit || unit === "1" || !size || !isFinite(size)) return { factor: 1, unit: unit === "1" ? "" : unit };
  const [first, ...rest] = unit.split("/");
  const per = rest.length ? `/${rest.join("/")}` : "";
  const big = ["B", "Hz", "W", "J", "MAC", "FLOP"].includes(first);
  const counted = ["tokens", "token"].includes(first);
  if ((big || counted) && size >= (counted ? 1e4 : 1e3)) {
    const [prefix, factor] = SI.find(([, f]) => size >= f);
    return { factor, unit: counted && prefix ? `${prefix} ${first}${per}` : `${prefix}${first}${per}` };
  }
  if (["s", "J", "W"].includes(first) && size < 1) {
    const [prefix, factor] = SMALL.find(([, f]) => size >= f) || SMALL.at(-1);
    return { factor, unit: `${prefix}${first}${per}` };
  }
  return { factor: 1, unit };
}

// Four significant digits.
function digits(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e7 || size < 1e-4) return value.toExponential(3).replace(/\.?0+e/, "e").replace("e+", "e");
  if (size >= 1000) return Math.round(value).toLocaleString("en-US");
  return String(Number(value.toPrecision(4)));
}

function readable(value, unit) {
  if (value === null || value === undefined) return "–";
  const scale = scaleOf(unit, Math.abs(value));
  return digits(value / scale.factor) + (scale.unit ? ` ${scale.unit}` : "");
}

function unitOf(name) {
  const found = inputs.get(name) || metrics.get(name);
  return found ? found.unit : "";
}

// An input's or metric's value for people.
function shown(name, value) {
  if (value === null || value === undefined) return "–";
  if (Array.isArray(value)) return value.join("/");
  return typeof value === "number" ? readable(value, unitOf(name)) : String(value);
}

const label = (point) => varied.map((name) => shown(name, valueOf(point, name))).join(" · ") || point.key.slice(0, 8);

// One unit for many numbers: that of the median.
function commonScale(values, unit) {
  const sizes = values.filter((v) => typeof v === "number" && v).map(Math.abs).sort((a, b) => a - b);
  return scaleOf(unit, sizes.length ? sizes[sizes.length >> 1] : 1);
}

const titled = (name, unit) => (unit && unit !== "1" ? `${name} (${unit})` : name);

// ---- the filter: which points are shown, everywhere

const filter = new Map();
const listeners = [];
const onFilter = (listener) => listeners.push(listener);
const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
const passes = (point) => [...filter].every(([name, values]) => values.some((v) => same(v, valueOf(point, name))));
const visible = () => points.filter(passes);
const good = () => visible().filter((point) => point.status === "ok");

// The inputs that tell points apart but for those fixed by the filter.
function setFilter(name, values) {
  if (values === null) filter.delete(name);
  else filter.set(name, values);
  listeners.forEach((listener) => listener());
}

// ---- colours: Okabe and Ito's for kinds, viridis for what has an order

const KINDS = {
  light: ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b58900", "#56b4e9", "#7a5195", "#8c6d31", "#4d4d4d"],
  dark: ["#56b4e9", "#e69f00", "#2bc59a", "#e59cc4", "#f0e442", "#4f8fe0", "#b79ced", "#d0a060", "#bbbbbb"],
};
const VIRIDIS = ["#440154", "#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"];
const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "x", "triangle-down", "star", "pentagon", "hexagon"];

const printing = window.matchMedia("print");
const darkness = window.matchMedia("(prefers-color-scheme: dark)");
const isDark = () => darkness.matches && !printing.matches;
const kinds = () => KINDS[isDark() ? "dark" : "light"];

function ordered(count) {
  const [from, to] = isDark() ? [2.5, 9] : [0, 7.6];
  return Array.from({ length: count }, (_, i) => mix(count === 1 ? from : from + ((to - from) * i) / (count - 1)));
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
    value, text: shown(name, value), color: colors[i], symbol: SYMBOLS[i % SYMBOLS.length],
  }));
}

const inGroup = (point, name, group) => group.value === null || same(valueOf(point, name), group.value);
