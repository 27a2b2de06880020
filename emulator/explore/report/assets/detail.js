// A point's breakdown, in a dialog: what it is, where its time, bytes, joules and dollars go.

function openPoint(point) {
  const dialog = document.getElementById("point");
  const body = dialog.querySelector(".body");
  document.getElementById("point-title").textContent = `Point ${point.key.slice(0, 12)}`;
  body.replaceChildren(
    facts(point),
    ...(point.detail ? breakdown(point) : [el("p", {}, noBreakdown(point))]),
  );
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
}

function noBreakdown(point) {
  if (point.status === "ok")
    return `Only ${data.details.filter(Boolean).length} points have a breakdown here, to keep the file small. results.sqlite has all.`;
  return "It was not timed, so there is no breakdown.";
}

function facts(point) {
  const pair = (name, value) => [el("dt", {}, name), el("dd", {}, value)];
  const state = point.status === "ok" ? "good" : `${point.status}: ${point.reason}`;
  const rows = [
    ...pair("status", state + (point.front ? ", on the front of the objectives" : "")),
    ...(point.note ? pair("estimates", point.note) : []),
  ];
  const list = (names) => names.flatMap((name) => pair(name, shown(name, valueOf(point, name))));
  const others = data.inputs.map((each) => each.name);
  return el(
    "div",
    { class: "facts" },
    el("section", {}, el("h3", {}, "Inputs"), el("dl", {}, ...list(others))),
    el("section", {}, el("h3", {}, "Metrics"), el("dl", {}, ...rows, ...list([...metrics.keys()]))),
  );
}

function breakdown(point) {
  const { phases, ledgers, unpriced, program } = point.detail;
  return [
    ...Object.entries(phases).flatMap(([name, phase]) => phaseParts(name, phase)),
    ...Object.entries(ledgers).map(([name, at]) => ledgerPart(name, data.tables.ledgers[at])),
    unpriced ? el("p", {}, `No joules and no dollars: ${unpriced}`) : null,
    programPart(data.tables.programs[program]),
  ].filter(Boolean);
}

function block(title, ...content) {
  return el("section", {}, el("h3", {}, title), ...content);
}

function tableOf(caption, columns_, rows) {
  const place = el("div", { class: "table" });
  new Table(place, { caption, rows, columns: columns_ });
  return place;
}

// Rows of [name, value] as bars of their share, the largest first.
function shares(caption, unit, rows, extra = []) {
  const whole = sum(rows.map((row) => row[1]));
  const sorted = rows.filter((row) => row[1]).sort((a, b) => b[1] - a[1]);
  return tableOf(
    caption,
    [
      words("operation", (row) => row[0]),
      numbers(unit === "s" ? "time" : "amount", unit, sorted, (row) => row[1]),
      numbers("share", "%", sorted, (row) => (100 * row[1]) / whole),
      ...extra.map((make) => make(sorted)),
    ],
    sorted,
  );
}

const count = (number, name) => `${number} ${name}${number === 1 ? "" : "s"}`;

function phaseParts(name, phase) {
  const each = name === "prefill" ? "prompt" : "sequence";
  const of = `${count(phase.batch, each)}, ${count(phase.tokens, "token")}`;
  const simulated = phase.estimated ? `, ${phase.simulated} of them simulated` : "";
  const steps = count(phase.steps, "step") + simulated;
  const roof = phase.roof;
  const lines = [
    ["time", readable(phase.seconds, "s")],
    ["cycles", phase.cycles.toLocaleString("en-US")],
    ["achieved", readable(roof.rate, "MAC/s")],
    ["of attainable", `${digits((100 * roof.rate) / roof.attainable)} %`],
    ["MACs per HBM byte", roof.intensity === null ? "–" : digits(roof.intensity)],
  ];
  const unitRows = phase.units.map(([at, cycles]) => [...data.tables.causes[at], cycles]);
  const operations = phase.operations.map(([at, seconds, count, macs]) => [
    data.tables.operations[at],
    seconds,
    count,
    macs,
  ]);
  const bounds = Object.entries(phase.bounds).map(([resource, cycles]) => [resource, cycles]);
  return [
    block(
      `${name}: ${of}, ${steps}`,
      el("dl", { class: "row" }, ...lines.flatMap(([a, b]) => [el("dt", {}, a), el("dd", {}, b)])),
    ),
    block(
      `${name}: time by operation`,
      shares("Operations; their times sum to the phase's", "s", operations, [
        (rows) => numbers("times", "1", rows, (row) => row[2]),
        (rows) => numbers("MACs", "MAC", rows, (row) => row[3]),
      ]),
    ),
    block(`${name}: units' cycles by cause`, unitTable(unitRows, phase.cycles)),
    block(
      `${name}: lower bounds`,
      tableOf(
        "Cycles that no schedule can beat",
        [
          words("resource", (row) => row[0]),
          numbers("cycles", "1", bounds, (row) => row[1]),
          numbers("share of the phase", "%", bounds, (row) => (100 * row[1]) / phase.cycles),
        ],
        bounds,
      ),
    ),
    block(`${name}: traffic`, trafficTable(phase)),
  ];
}

// Causes down, units across, each unit's cycles as shares that sum to 100 %.
function unitTable(rows, cycles) {
  const units = [...new Set(rows.map(([unit]) => unit))];
  const byCause = new Map();
  for (const [unit, cause, value] of rows)
    byCause.set(cause, { ...(byCause.get(cause) || {}), [unit]: (100 * value) / cycles });
  const table = [...byCause].sort(
    (a, b) => Math.max(...Object.values(b[1])) - Math.max(...Object.values(a[1])),
  );
  return tableOf(
    "Shares of the phase's cycles, mean of all units of a kind",
    [
      words("cause", (row) => row[0]),
      ...units.map((unit) => numbers(unit, "%", table, (row) => row[1][unit] ?? 0)),
    ],
    table,
  );
}

function trafficTable(phase) {
  const rows = [
    ...Object.entries(phase.traffic.hbm).map(([name, [read, write]]) => [
      `HBM ${name}`,
      read,
      write,
      read + write,
    ]),
    ...Object.entries(phase.traffic.others).map(([name, bytes]) => [name, null, null, bytes]),
  ];
  return tableOf(
    "Bytes; HBM's in whole bursts",
    [
      words("what", (row) => row[0]),
      numbers("read", "B", rows, (row) => row[1]),
      numbers("written", "B", rows, (row) => row[2]),
      numbers("both", "B", rows, (row) => row[3]),
    ],
    rows,
  );
}

function ledgerPart(name, ledger) {
  const rows = ledger.entries.map(([at, amount, rate, value]) => {
    const [what, unit, per, kind, source] = data.tables.entries[at];
    return { what, unit, per, kind, source, amount, rate, value };
  });
  const total = `${name}: ${readable(ledger.total, ledger.unit)}, ${ledger.kind === "estimate" ? "an estimate" : ledger.kind}`;
  return block(
    total,
    tableOf(
      `Ledger of ${name}`,
      [
        words("entry", (row) => row.what),
        numbers("value", ledger.unit, rows, (row) => row.value),
        numbers("share", "%", rows, (row) => (100 * row.value) / ledger.total),
        { ...words("amount", (row) => readable(row.amount, row.unit)), number: true },
        {
          ...words("rate", (row) => `${digits(row.rate)} ${ledger.unit} ${row.per}`),
          number: true,
        },
        words("kind", (row) => row.kind),
        words("source", (row) => row.source),
      ],
      rows,
    ),
  );
}

function programPart(program) {
  const classes = Object.entries(program.hbm_bytes_by_class);
  const text =
    `${program.rows} rows a step, ${program.sequences} sequences of ${program.context} positions, ${program.layers} layers` +
    (program.layers_simulated < program.layers
      ? `, ${program.layers_simulated} simulated, ${program.layers_simulated_in_decode ?? program.layers_simulated} in decode`
      : "");
  return block(
    "Program",
    el("p", {}, text),
    tableOf(
      `HBM that the program takes: ${readable(program.hbm_bytes, "B")}`,
      [words("class", (row) => row[0]), numbers("bytes", "B", classes, (row) => row[1])],
      classes,
    ),
  );
}
