// Stacked bars: what a phase's time, joules and dollars are spent on, for the points that matter.

const WHAT = {
  "time, by operation": { unit: "s", ledger: null },
  "energy of a token": { unit: "J/token", ledger: "energy" },
  "cost of a million tokens": { unit: "USD/Mtoken", ledger: "hour" },
};
for (const [unit, name] of [
  ["ctl", "control"],
  ["mxu", "array"],
  ["vpu", "vector"],
  ["dma", "DMA"],
]) {
  WHAT[`time of the ${name} units, by cause`] = { unit: "s", causes: unit };
}
const MOST_BARS = 25;
const MOST_PARTS = 8;

const groupOf = (phase) => (phase === "prefill" ? "prefill" : "decode");
// Time is of all prompts in prefill, and of a step in decode: as ttft and tpot are.
const stepsOf = (name, phase) => (name === "prefill" ? 1 : phase.steps);

// [[name, value]] that sum to the whole; null if there is no such ledger.
function spent(point, name, what) {
  const phase = point.detail.phases[name];
  const { ledger, causes } = WHAT[what];
  const operations = phase.operations.map(([at, seconds]) => [
    data.tables.operations[at],
    seconds / stepsOf(name, phase),
  ]);
  if (causes) {
    const host = operations.find(([operation]) => operation === "host");
    const scale = (phase.seconds / stepsOf(name, phase) - host[1]) / phase.cycles;
    const found = phase.units.map(([at, cycles]) => [...data.tables.causes[at], cycles * scale]);
    return [...found.filter(([unit]) => unit === causes).map(([, ...rest]) => rest), host];
  }
  if (!ledger) return operations;
  const number = point.detail.ledgers[`${groupOf(name)} ${ledger}`];
  if (number === undefined) return null;
  const found = data.tables.ledgers[number];
  const factor = ledger === "energy" ? 1 / phase.tokens : perMillion(point, name, found);
  return found.entries.map(([at, , , value]) => [data.tables.entries[at][0], value * factor]);
}

// Dollars of a million tokens for a dollar of an hour.
function perMillion(point, name, hour) {
  const metric = point.detail.million[groupOf(name)];
  return metric === null || metric === undefined ? 0 : metric / hour.total;
}

function showStacks() {
  const here = part("stacks");
  const phases = phaseNames();
  if (!phases.length) return absent(here, "No point was timed.");
  const fronts = points.some((point) => point.front);
  const sorts = [...metrics.keys()].filter(sideOf);
  const state = {
    phase: phases.at(-1),
    what: Object.keys(WHAT)[0],
    of: fronts ? "" : sorts[0],
    share: false,
  };
  const set = (key) => (value) => {
    state[key] = value;
    draw();
  };
  const which = [
    ...(fronts ? [["", "the front of the objectives"]] : []),
    ...sorts.map((name) => [name, `the best by ${name}`]),
  ];
  here.controls.replaceChildren(
    choice("Phase", phases, state.phase, set("phase")),
    choice("What", Object.keys(WHAT), state.what, set("what")),
    choice("Points", which, state.of, set("of")),
    tick("as shares", state.share, set("share")),
  );
  const draw = () => drawStacks(here, state);
  onFilter(draw);
  draw();
}

function chosenFor(state) {
  const list = good().filter(
    (point) =>
      point.detail && point.detail.phases[state.phase] && spent(point, state.phase, state.what),
  );
  if (!state.of)
    return list
      .filter((point) => point.front)
      .sort(byObjective)
      .slice(0, MOST_BARS);
  const side = sideOf(state.of);
  const having = list.filter((point) => valueOf(point, state.of) !== null);
  return having
    .sort((a, b) => side * (valueOf(a, state.of) - valueOf(b, state.of)))
    .slice(0, MOST_BARS);
}

function byObjective(a, b) {
  const first = data.objectives[0];
  if (!first) return a.i - b.i;
  return (first.better === "less" ? 1 : -1) * (valueOf(a, first.name) - valueOf(b, first.name));
}

function drawStacks(here, state) {
  const list = chosenFor(state);
  if (!list.length) {
    here.caption.textContent = "No such point has this breakdown.";
    here.table.replaceChildren();
    chart(here.figure, () => ({
      traces: [],
      layout: { height: 80, xaxis: { visible: false }, yaxis: { visible: false } },
    }));
    return;
  }
  const parts = list.map((point) => new Map(spent(point, state.phase, state.what)));
  const total = new Map();
  parts.forEach((each) =>
    each.forEach((value, name) => total.set(name, (total.get(name) || 0) + value)),
  );
  const names = [...total.keys()].sort((a, b) => total.get(b) - total.get(a));
  const unit = WHAT[state.what].unit;
  here.caption.textContent = `${state.phase}: ${state.what}. ${list.length} points, the best at the top. ${stackNote(state)}`;
  chart(here.figure, () => stacksChart(state, list, parts, names, unit));
  const rows = list.map((point, i) => ({
    point,
    parts: parts[i],
    total: sum([...parts[i].values()]),
  }));
  new Table(here.table, {
    caption: `${state.phase}: ${state.what}`,
    rows,
    open: (row) => openPoint(row.point),
    columns: [
      ...varied.map((name) => columnOf(name, rows, (row) => row.point)),
      numbers("total", unit, rows, (row) => row.total),
      ...names.map((name) => numbers(name, unit, rows, (row) => row.parts.get(name) ?? 0)),
    ],
  });
}

function stackNote(state) {
  const { ledger, causes } = WHAT[state.what];
  if (ledger)
    return "The entries are those of the ledgers in docs/economics.md, and sum to the metric.";
  const span =
    state.phase === "prefill" ? "Of all prompts" : "Of a step, which gives each sequence a token";
  return causes
    ? `${span}; mean of all such units of the chip, and the host.`
    : `${span}. An operation has the time by which it moved the end, so they sum to the whole.`;
}

const sum = (values) => values.reduce((a, b) => a + b, 0);

function stacksChart(state, list, parts, names, unit) {
  const totals = parts.map((each) => sum([...each.values()]));
  const scale = state.share ? { factor: 1, unit: "%" } : commonScale(totals, unit);
  const major = names.slice(0, names.length > MOST_PARTS + 1 ? MOST_PARTS : names.length);
  const stacked = major.map((name, i) => [
    name,
    parts.map((each) => each.get(name) || 0),
    colorOfPart(i),
  ]);
  if (major.length < names.length) {
    const rest = names.slice(major.length);
    stacked.push([
      `${rest.length} others`,
      parts.map((each) => sum(rest.map((name) => each.get(name) || 0))),
      ink().line,
    ]);
  }
  const value = (v, i) => (state.share ? (100 * v) / totals[i] : v / scale.factor);
  const texts = unique(list.map(label));
  return {
    traces: stacked.map(([name, values, color]) => ({
      type: "bar",
      orientation: "h",
      name: plain(name),
      y: list.map((_, i) => i),
      x: values.map(value),
      customdata: list.map((point) => point.i),
      marker: { color, line: { color: ink().back, width: 1 } },
      text: values.map(
        (v, i) =>
          `${plain(texts[i])}<br>${plain(name)}: <b>${plain(readable(v, unit))}</b>, ${digits((100 * v) / totals[i])} %`,
      ),
      textposition: "none",
      hovertemplate: "%{text}<extra></extra>",
    })),
    layout: {
      barmode: "stack",
      bargap: 0.25,
      height: 130 + 26 * list.length,
      legend: { ...framed({}).legend, traceorder: "normal" },
      xaxis: { title: state.share ? "share (%)" : plain(titled(state.what, scale.unit)) },
      yaxis: {
        autorange: "reversed",
        tickmode: "array",
        tickvals: texts.map((_, i) => i),
        ticktext: texts.map(plain),
        title: "",
        showgrid: false,
      },
    },
    click: opens,
  };
}

const colorOfPart = (i) => kinds()[i % kinds().length];
const unique = (texts) =>
  texts.map((text, i) => (texts.indexOf(text) === i ? text : `${text} (${i + 1})`));
