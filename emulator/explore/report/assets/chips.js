// The chips of the study side by side: what each is, and its best point by a metric.

function showChips() {
  const here = part("chips");
  const several = data.chips.length > 1 && varied.includes("chip");
  const able = [...metrics.keys()].filter(sideOf);
  chipTable(here);
  if (!several || !able.length) {
    here.figure.hidden = true;
    here.caption.textContent = "The study has one chip.";
    return;
  }
  const first = data.objectives.map((each) => each.name).find((name) => able.includes(name));
  const state = { metric: first || able[0] };
  const draw = () => drawChips(here, state.metric);
  here.controls.replaceChildren(
    choice("Best point by", able, state.metric, (value) => {
      state.metric = value;
      draw();
    }),
  );
  onFilter(draw);
  draw();
}

// [chip, its best good point or null], the best first.
function bestOf(metric) {
  const side = sideOf(metric);
  const found = data.axes.chip.map((name) => {
    const list = good().filter(
      (point) => valueOf(point, "chip") === name && valueOf(point, metric) !== null,
    );
    list.sort((a, b) => side * (valueOf(a, metric) - valueOf(b, metric)));
    return [name, list[0] || null];
  });
  const value = ([, point]) => (point ? side * valueOf(point, metric) : Infinity);
  return found.sort((a, b) => value(a) - value(b));
}

function drawChips(here, metric) {
  const found = bestOf(metric);
  const none = found.filter(([, point]) => !point).map(([name]) => name);
  here.caption.textContent =
    `The best good point of each chip by ${metric}.` +
    (none.length ? ` No good point: ${none.join(", ")}.` : "");
  chart(here.figure, () =>
    chipsChart(
      metric,
      found.filter(([, point]) => point),
    ),
  );
}

function chipsChart(metric, found) {
  const scale = commonScale(
    found.map(([, point]) => valueOf(point, metric)),
    unitOf(metric),
  );
  const others = varied.filter((name) => name !== "chip");
  return {
    traces: [
      {
        type: "bar",
        orientation: "h",
        y: found.map((_, i) => i),
        x: found.map(([, point]) => valueOf(point, metric) / scale.factor),
        customdata: found.map(([, point]) => point.i),
        marker: { color: kinds()[0] },
        width: 0.6,
        text: found.map(([, point]) =>
          plain(
            `${readable(valueOf(point, metric), unitOf(metric))}  (${others.map((name) => `${name} ${shown(name, valueOf(point, name))}`).join(", ")})`,
          ),
        ),
        textposition: "auto",
        insidetextanchor: "start",
        insidetextfont: { color: isDark() ? "#111" : "#fff" },
        cliponaxis: false,
        hovertext: found.map(([, point]) => hover(point)),
        hovertemplate: "%{hovertext}<extra></extra>",
      },
    ],
    layout: {
      height: 90 + 34 * found.length,
      showlegend: false,
      xaxis: { title: better(metric, scale), rangemode: "tozero" },
      yaxis: {
        autorange: "reversed",
        tickmode: "array",
        tickvals: found.map((_, i) => i),
        ticktext: found.map(([name]) => plain(name)),
        title: "",
        showgrid: false,
      },
    },
    click: opens,
  };
}

const MARKS = { measured: "m", derived: "d", estimate: "e" };

function figure(name, unit, rows, of) {
  const column = numbers(name, unit, rows, (chip) => of(chip)?.value);
  const text = column.text;
  return { ...column, text: (chip) => (of(chip) ? `${text(chip)} ${MARKS[of(chip).kind]}` : "–") };
}

function chipTable(here) {
  const rows = data.chips;
  const array = (chip) => `${chip.tiles} × ${chip.array.rows}×${chip.array.columns}`;
  const peak = (pair) => (chip) => chip.peak_flops[pair];
  new Table(here.table, {
    caption:
      "Chips as their files have them, before axes change them. m: published or measured, d: derived, e: estimate. Peaks are dense; USD is to buy.",
    rows,
    open: null,
    columns: [
      words("chip", (chip) => chip.name),
      words("node", (chip) => chip.node),
      words("weights in", (chip) => chip.weights),
      words("arrays", array),
      numbers("clock", "Hz", rows, (chip) => chip.clock_hz),
      numbers("FP4 x FP4", "FLOP/s", rows, peak("fp4 x fp4")),
      numbers("FP8 x FP8", "FLOP/s", rows, peak("fp8 x fp8")),
      numbers("BF16 x BF16", "FLOP/s", rows, peak("bf16 x bf16")),
      numbers("SRAM", "B", rows, (chip) => chip.sram.bytes),
      numbers("HBM", "B", rows, (chip) => chip.hbm.bytes),
      numbers("HBM rate", "B/s", rows, (chip) => chip.hbm.bytes_per_second),
      numbers("FP8 balance", "FLOP/B", rows, (chip) => chip.flop_per_byte),
      figure("area", "mm2", rows, (chip) => chip.area_mm2),
      figure("power", "W", rows, (chip) => chip.power_w),
      figure("price", "USD", rows, (chip) => chip.usd),
    ],
  });
}
