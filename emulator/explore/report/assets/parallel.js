// Parallel coordinates: a line for every point, an upright axis for every input and metric.

const brushes = new Map(); // axis -> [low, high] of its height: only lines through all of them are bright

function showParallel() {
  const here = part("parallel");
  const many = varied.filter((name) => data.axes[name].length > 1);
  const able = [...metrics.keys()].filter((name) =>
    columns.metrics[name].some((value) => value !== null),
  );
  if (many.length + able.length < 2) return absent(here, "There is but one thing to show.");
  const wanted = new Set(
    data.objectives.length ? data.objectives.map((each) => each.name) : able.slice(0, 4),
  );
  const state = {
    color: defaultColor(),
    axes: new Set([...many, ...able.filter((name) => wanted.has(name))]),
  };
  const boxes = el(
    "fieldset",
    {},
    el("legend", {}, "Axes"),
    ...[...many, ...able].map((name) =>
      tick(name, state.axes.has(name), (on) => {
        if (on) state.axes.add(name);
        else {
          state.axes.delete(name);
          brushes.delete(name);
        }
        draw();
      }),
    ),
  );
  const clear = el(
    "button",
    {
      type: "button",
      class: "noprint",
      onclick: () => {
        brushes.clear();
        draw();
      },
    },
    "Clear brushes",
  );
  here.controls.replaceChildren(
    choice("Colour by", colorChoices(), state.color, (value) => {
      state.color = value;
      draw();
    }),
    clear,
    boxes,
  );
  const order = [...many, ...able];
  const draw = () =>
    drawParallel(
      here,
      state,
      order.filter((name) => state.axes.has(name)),
    );
  onFilter(draw);
  draw();
}

function drawParallel(here, state, names) {
  const list = good().filter((point) => names.every((name) => valueOf(point, name) !== null));
  const scales = names.map((name) => upright(name, list));
  const heights = new Map(
    list.map((point) => [point.i, scales.map((scale) => scale.at(valueOf(point, scale.name)))]),
  );
  const bright = list.filter((point) =>
    scales.every((scale, i) => within(brushes.get(scale.name), heights.get(point.i)[i])),
  );
  here.caption.textContent =
    `${bright.length} of ${list.length} points; the bold ones are on the front of the objectives. ` +
    "Hover at an axis to see a point, click to open it. Drag along axes to keep only the lines through there." +
    thinnedNote(list);
  if (!names.length) return chart(here.figure, () => ({ traces: [], layout: { height: 80 } }));
  chart(here.figure, () => parallelChart(here, state, scales, heights, list, bright));
  new Table(here.table, {
    caption: "Lines of the chart",
    rows: bright,
    open: openPoint,
    columns: names.map((name) => columnOf(name, bright)),
  });
}

const within = (brush, height) => !brush || (height >= brush[0] && height <= brush[1]);

function parallelChart(here, state, scales, heights, list, bright) {
  const color = ink();
  const kept = new Set(bright);
  const dim = thinned(list).filter((point) => !kept.has(point));
  const shown_ = thinned(bright);
  const lines = groupsBy(state.color).flatMap((group) => {
    const members = shown_.filter((point) => inGroup(point, state.color, group));
    const rest = members.filter((point) => !point.front);
    const front = members.filter((point) => point.front);
    const name = { name: plain(group.text), legendgroup: group.text };
    const key = {
      type: "scatter",
      mode: "lines",
      x: [null],
      y: [null],
      line: { color: group.color, width: 3 },
      showlegend: group.value !== null,
    };
    return [
      { ...key, ...name },
      { ...polyline(rest, heights, group.color, shown_.length > 300 ? 0.8 : 1.2, 0.65), ...name },
      { ...polyline(front, heights, group.color, 3, 1), ...name },
    ].filter((trace) => trace.x.length);
  });
  const names = scales.map((scale) => plain(scale.title));
  return {
    traces: [
      {
        ...polyline(dim, heights, color.line, 0.7, 0.8),
        hoverinfo: "skip",
        hovertemplate: undefined,
      },
      ...lines,
    ].filter((trace) => trace.x.length),
    layout: {
      height: 500,
      least: 120 * scales.length,
      dragmode: "select",
      selectdirection: "any",
      legend: legend(state.color),
      margin: { l: 50, r: 90, t: 12, b: 20 },
      xaxis: {
        range: [-0.15, scales.length - 0.75],
        tickvals: names.map((_, i) => i),
        ticktext: names.map(wrap),
        showgrid: false,
        zeroline: false,
        fixedrange: true,
        showline: false,
        tickangle: 0,
      },
      yaxis: { range: [-0.06, 1.06], visible: false, fixedrange: true },
      shapes: scales.flatMap((scale, i) => [upLine(i, color), ...brushShape(scale.name, i, color)]),
      annotations: scales.flatMap((scale, i) =>
        scale.ticks.map(([y, text]) => ({
          x: i,
          y,
          text: plain(text),
          showarrow: false,
          xanchor: "left",
          xshift: 5,
          font: { size: 11.5, color: color.text },
          bgcolor: color.back,
          opacity: 0.85,
          borderpad: 1,
        })),
      ),
    },
    click: opens,
    selected: (event) => brush(scales, event),
    cleared: () => {
      brushes.clear();
      listeners.forEach((listener) => listener());
    },
  };
}

// Long names take several lines under their axes.
const wrap = (text) =>
  text.replace(
    /(.{9,}?)[_. ](?=.{3,})/g,
    (whole, head) => `${whole.slice(0, head.length + 1)}<br>`,
  );

const upLine = (i, color) => ({
  type: "line",
  x0: i,
  x1: i,
  y0: 0,
  y1: 1,
  line: { color: color.muted, width: 1.2 },
  layer: "below",
});

function brushShape(name, i, color) {
  const brush = brushes.get(name);
  return brush
    ? [
        {
          type: "rect",
          x0: i - 0.05,
          x1: i + 0.05,
          y0: brush[0],
          y1: brush[1],
          fillcolor: color.accent,
          opacity: 0.35,
          line: { width: 0 },
        },
      ]
    : [];
}

function brush(scales, event) {
  if (!event.range) return;
  const [left, right] = event.range.x;
  scales.forEach((scale, i) => {
    if (i >= left && i <= right) brushes.set(scale.name, event.range.y);
  });
  setTimeout(() => listeners.forEach((listener) => listener()));
}

// Many points as one trace, with gaps between them.
function polyline(list, heights, color, width, opacity) {
  const [x, y, customdata, text] = [[], [], [], []];
  for (const point of list) {
    const seen = hover(point);
    heights.get(point.i).forEach((height, i) => {
      x.push(i);
      y.push(height);
      customdata.push(point.i);
      text.push(seen);
    });
    x.push(null);
    y.push(null);
    customdata.push(null);
    text.push("");
  }
  return {
    type: "scatter",
    mode: "lines+markers",
    x,
    y,
    customdata,
    text,
    hovertemplate: "%{text}<extra></extra>",
    opacity,
    showlegend: false,
    line: { color, width },
    marker: { color, size: 4 },
  };
}
