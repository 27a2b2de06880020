// Sensitivity: what going from an axis's first to its last value does to a metric, the rest held.

function showTornado() {
  const here = part("tornado");
  const able = [...metrics.keys()].filter((name) =>
    data.sensitivity.some((each) => each.metrics[name]),
  );
  if (!able.length)
    return absent(
      here,
      "No two good points differ in one axis alone, from its first to its last value.",
    );
  const first = data.objectives.map((each) => each.name).find((name) => able.includes(name));
  const state = { metric: first || able[0] };
  const draw = () => drawTornado(here, state.metric);
  here.controls.replaceChildren(
    choice("Metric", able, state.metric, (value) => {
      state.metric = value;
      draw();
    }),
  );
  draw();
}

function drawTornado(here, metric) {
  const rows = data.sensitivity
    .filter((each) => each.metrics[metric])
    .map((each) => ({ ...each, swing: each.metrics[metric] }))
    .sort((a, b) => Math.abs(Math.log(b.swing.median)) - Math.abs(Math.log(a.swing.median)));
  const without = data.sensitivity.filter((each) => !each.metrics[metric]).map((each) => each.axis);
  here.caption.textContent =
    `${metric}: the median of its ratio over all pairs of good points that differ in one axis alone, from its first to its last value; ` +
    "the thin line spans all pairs. The filter above does not change it." +
    (without.length ? ` No pairs for ${without.join(", ")}.` : "");
  chart(here.figure, () => tornadoChart(metric, rows));
  const end = (row, value) => shown(row.axis, value);
  new Table(here.table, {
    caption: `Sensitivity of ${metric}`,
    rows,
    columns: [
      words("axis", (row) => row.axis),
      words("from", (row) => end(row, row.from)),
      words("to", (row) => end(row, row.to)),
      numbers("median ratio", "1", rows, (row) => row.swing.median),
      numbers("least", "1", rows, (row) => row.swing.least),
      numbers("most", "1", rows, (row) => row.swing.most),
      numbers("pairs", "1", rows, (row) => row.swing.pairs),
    ],
  });
}

function tornadoChart(metric, rows) {
  const color = ink();
  const [worse, improves, neither] = [kinds()[1], kinds()[0], color.muted];
  const side = sideOf(metric);
  const colorOf = (ratio) => (!side ? neither : ratio < 1 === side > 0 ? improves : worse);
  const names = rows.map(
    (row) =>
      `${plain(row.axis)}<br>${plain(shown(row.axis, row.from))} → ${plain(shown(row.axis, row.to))}`,
  );
  const log = (value) => Math.log2(value);
  const reach = Math.max(
    0.15,
    ...rows.flatMap((row) =>
      [row.swing.least, row.swing.most, row.swing.median].map((v) => Math.abs(log(v))),
    ),
  );
  const bars = [
    ["improves", improves],
    ["gets worse", worse],
    ["changes", neither],
  ].map(([name, fill]) => {
    const members = rows
      .map((row, i) => [row, i])
      .filter(([row]) => colorOf(row.swing.median) === fill);
    return {
      type: "bar",
      orientation: "h",
      name: `${plain(metric)} ${name}`,
      y: members.map(([, i]) => i),
      x: members.map(([row]) => log(row.swing.median)),
      marker: { color: fill },
      width: 0.55,
      showlegend: members.length > 0,
      hovertext: members.map(
        ([row, i]) =>
          `${names[i]}<br>median ${times(row.swing.median)}, from ${times(row.swing.least)} to ${times(row.swing.most)}, ${row.swing.pairs} pairs`,
      ),
      hovertemplate: "%{hovertext}<extra></extra>",
      error_x: {
        type: "data",
        symmetric: false,
        color: color.text,
        thickness: 1.2,
        width: 5,
        array: members.map(([row]) => log(row.swing.most) - log(row.swing.median)),
        arrayminus: members.map(([row]) => log(row.swing.median) - log(row.swing.least)),
      },
    };
  });
  const ticks = ratios(reach);
  return {
    traces: bars.filter((trace) => trace.x.length),
    layout: {
      height: 130 + 52 * rows.length,
      bargap: 0.4,
      xaxis: {
        title: `${plain(metric)} at the last value over that at the first`,
        tickvals: ticks.map(log),
        ticktext: ticks.map(times),
        range: [-reach * 1.3, reach * 1.3],
        zeroline: true,
        zerolinecolor: color.text,
        zerolinewidth: 1.5,
      },
      yaxis: {
        autorange: "reversed",
        tickmode: "array",
        tickvals: names.map((_, i) => i),
        ticktext: names,
        title: "",
        showgrid: false,
      },
      annotations: rows.map((row, i) => {
        const right = log(row.swing.median) >= 0;
        return {
          y: i,
          x: log(right ? row.swing.most : row.swing.least),
          text: times(row.swing.median),
          showarrow: false,
          xanchor: right ? "left" : "right",
          xshift: right ? 8 : -8,
          font: { color: color.text },
        };
      }),
    },
  };
}

const times = (ratio) => `×${Number(ratio.toPrecision(3))}`;

// Ratios to mark on an axis that reaches so many doublings each way.
function ratios(reach) {
  const steps =
    reach > 12
      ? [1, 64, 4096, 262144]
      : reach > 5
        ? [1, 4, 16, 64, 256, 1024, 4096]
        : reach > 1.6
          ? [1, 2, 4, 8, 16, 32]
          : reach > 0.6
            ? [1, 1.5, 2, 3]
            : [1, 1.1, 1.25, 1.5];
  return [
    ...steps
      .slice(1)
      .reverse()
      .map((value) => 1 / value),
    ...steps,
  ].filter((value) => Math.abs(Math.log2(value)) <= reach * 1.3);
}
