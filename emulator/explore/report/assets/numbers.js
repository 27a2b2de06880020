// Numbers with units, as people read them.

const SI = [
  ["P", 1e15],
  ["T", 1e12],
  ["G", 1e9],
  ["M", 1e6],
  ["k", 1e3],
  ["", 1],
];
const SMALL = [
  ["", 1],
  ["m", 1e-3],
  ["u", 1e-6],
  ["n", 1e-9],
  ["p", 1e-12],
];

// The unit in which a number of this size reads well: {factor, unit}.
function scaleOf(unit, size) {
  if (!unit || unit === "1" || !size || !isFinite(size))
    return { factor: 1, unit: unit === "1" ? "" : unit };
  const [first, ...rest] = unit.split("/");
  const per = rest.length ? `/${rest.join("/")}` : "";
  const big = ["B", "Hz", "W", "J", "MAC", "FLOP"].includes(first);
  const counted = ["tokens", "token"].includes(first);
  if ((big || counted) && size >= (counted ? 1e4 : 1e3)) {
    const [prefix, factor] = SI.find(([, f]) => size >= f);
    return {
      factor,
      unit: counted && prefix ? `${prefix} ${first}${per}` : `${prefix}${first}${per}`,
    };
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
  if (size >= 1e7 || size < 1e-4)
    return value
      .toExponential(3)
      .replace(/\.?0+e/, "e")
      .replace("e+", "e");
  if (size >= 1000) return Math.round(value).toLocaleString("en-US");
  return String(Number(value.toPrecision(4)));
}

// What writes the numbers of a column: whole ones whole, others with as many decimals as the median
// needs for four digits, `most` at most, and more for those that would be nothing.
function writer(values, most = 6) {
  const sizes = values
    .filter((v) => typeof v === "number" && v)
    .map(Math.abs)
    .sort((a, b) => a - b);
  if (!sizes.length) return digits;
  const middle = sizes[sizes.length >> 1];
  if (sizes.every(Number.isInteger) || middle >= 1e7 || middle < 1e-4) return digits;
  const places = Math.min(most, Math.max(0, 3 - Math.floor(Math.log10(middle))));
  return (value) => {
    if (value === 0) return "0";
    if (Math.abs(value) < 5 * 10 ** -places) return digits(Number(value.toPrecision(2)));
    return value.toLocaleString("en-US", {
      minimumFractionDigits: places,
      maximumFractionDigits: places,
    });
  };
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
  if (Array.isArray(value)) return value.join("/") || "none";
  return typeof value === "number" ? readable(value, unitOf(name)) : String(value);
}

const label = (point) =>
  varied.map((name) => shown(name, valueOf(point, name))).join(" · ") || point.key.slice(0, 8);

// One unit for many numbers: that of the median.
function commonScale(values, unit) {
  const sizes = values
    .filter((v) => typeof v === "number" && v)
    .map(Math.abs)
    .sort((a, b) => a - b);
  return scaleOf(unit, sizes.length ? sizes[sizes.length >> 1] : 1);
}

const titled = (name, unit) => (unit && unit !== "1" ? `${name} (${unit})` : name);
