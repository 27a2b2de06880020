// Phases beside their chips' rooflines: MACs for a byte of HBM against MACs a second.

function roofs(name) {
  return good()
    .filter((point) => point.detail && point.detail.phases[name])
    .map((point) => ({ point, roof: point.detail.phases[name].roof }));
}

function phaseNames() {
  const found = new Set(
    points.flatMap((point) => (point.detail ? Object.keys(point.detail.phases) : [])),
  );
  return ["prefill", "decode", "generate"].filter((name) => found.has(name));
}

function showRoofline() {
  const here = part("roofline");
  const phases = phaseNames();
  if (!phases.length) return absent(here, "No point was timed.");
  const state = { phase: phases.at(-1), color: defaultColor() };
  const set = (key) => (value) => {
    state[key] = value;
    draw();
  };
  here.controls.replaceChildren(
    choice("Phase", phases, state.phase, set("phase")),
    choice("Colour by", colorChoices(), state.color, set("color")),
  );
  const draw = () => drawRoofline(here, state);
  onFilter(draw);
  draw();
}

function drawRoofline(here, state) {
  const rows = roofs(state.phase);
  const drawn = rows.filter((row) => row.roof.intensity);
  const without = rows.length - drawn.length;
  here.caption.textContent =
    `${state.phase}: ${drawn.length} points. Slanted lines are HBM's peak rate, level ones the arrays' peak for a pair of widths (activations x weights).` +
    (without
      ? ` ${without} points move no HBM bytes or count no MACs, and are in the table only.`
      : "") +
    thinnedNote(drawn);
  chart(here.figure, () => rooflineChart(state, drawn));
  const at = (row) => row.point;
  new Table(here.table, {
    caption: `Roofline, ${state.phase}`,
    rows,
    open: (row) => openPoint(row.point),
    columns: [
      ...varied.map((name) => columnOf(name, rows, at)),
      numbers("intensity", "MAC/B", rows, (row) => row.roof.intensity),
      numbers("achieved", "MAC/s", rows, (row) => row.roof.rate),
      numbers("attainable", "MAC/s", rows, (row) => row.roof.attainable),
      numbers(
        "share of attainable",
        "%",
        rows,
        (row) => (100 * row.roof.rate) / row.roof.attainable,
      ),
      numbers("peak of arrays", "MAC/s", rows, (row) => row.roof.peak),
      numbers("peak of HBM", "B/s", rows, (row) => row.roof.bandwidth),
    ],
  });
}

const MOST_LINES = 6;
const ends = (values) => (values.length > MOST_LINES ? [values[0], values.at(-1)] : values);

function rooflineChart(state, rows) {
  const find = new Map(rows.map((row) => [row.point.i, row.roof]));
  const x = (point) => find.get(point.i).intensity;
  const y = (point) => find.get(point.i).rate;
  const extra = (point) => {
    const roof = find.get(point.i);
    return [
      ["", ""],
      ["intensity", readable(roof.intensity, "MAC/B")],
      ["achieved", readable(roof.rate, "MAC/s")],
      ["of attainable", `${digits((100 * roof.rate) / roof.attainable)} %`],
    ];
  };
  return {
    traces: [
      ...ceilings(rows),
      ...scatter(thinned(rows.map((row) => row.point)), state.color, x, y, extra),
    ],
    layout: {
      height: 480,
      legend: legend(state.color),
      xaxis: { title: "MACs per byte of HBM", ...logarithmic([1]) },
      yaxis: { title: "MACs a second", ...logarithmic([1], (value) => readable(value, "MAC/s")) },
    },
    click: opens,
  };
}

// Lines of every bandwidth and peak there is, or the ends if they are many.
function ceilings(rows) {
  if (!rows.length) return [];
  const up = (a, b) => a - b;
  const rates = ends([...new Set(rows.map((row) => row.roof.bandwidth).filter(Boolean))].sort(up));
  const peaks = new Map();
  for (const { roof } of rows) {
    for (const [pair, value] of Object.entries(roof.peaks))
      peaks.set(value, new Set([...(peaks.get(value) || []), pair]));
  }
  const tops = ends([...peaks.keys()].sort(up));
  const xs = rows.map((row) => row.roof.intensity);
  const top = tops.at(-1);
  const knees = rates.map((rate) => top / rate);
  const [left, right] = [Math.min(...xs, ...knees) / 3, Math.max(...xs, ...knees) * 3];
  const color = ink();
  const line = (x, y, text, place) => ({
    type: "scatter",
    mode: "lines+text",
    x,
    y,
    text: ["", plain(text)],
    textposition: place,
    hoverinfo: "skip",
    showlegend: false,
    textfont: { color: color.muted, size: 11.5 },
    line: { color: color.muted, width: 1.2, dash: "dot" },
    cliponaxis: false,
  });
  return [
    ...rates.map((rate, i) =>
      slanted(line, rate, left, top / rate, 0.94 - 0.09 * (rates.length - 1 - i)),
    ),
    ...tops.map((peak) =>
      line(
        [rates.length ? peak / rates.at(-1) : left, right],
        [peak, peak],
        [...peaks.get(peak)].join(", "),
        "top left",
      ),
    ),
  ];
}

// A bandwidth's line from the left to its knee, with its name at a part of the way up.
function slanted(line, rate, left, knee, part_) {
  const middle = left * (knee / left) ** part_;
  const made = line(
    [left, middle, knee],
    [left * rate, middle * rate, knee * rate],
    "",
    "top left",
  );
  return { ...made, text: ["", plain(readable(rate, "B/s")), ""] };
}
