// Any two metrics against each other, and the points that no other beats in both.

function sideOf(name) {
  const metric = metrics.get(name);
  return metric && metric.better === "more" ? -1 : metric && metric.better === "less" ? 1 : 0;
}

// The front of two metrics, best in the first first; of equal points, the first by key.
function frontOf(list, x, y) {
  const [sx, sy] = [sideOf(x), sideOf(y)];
  if (!sx || !sy) return [];
  const having = list.filter((point) => valueOf(point, x) !== null && valueOf(point, y) !== null);
  having.sort(
    (a, b) =>
      sx * (valueOf(a, x) - valueOf(b, x)) || sy * (valueOf(a, y) - valueOf(b, y)) || a.i - b.i,
  );
  let best = Infinity;
  return having.filter((point) => {
    const value = sy * valueOf(point, y);
    if (value >= best) return false;
    best = value;
    return true;
  });
}

function showPareto() {
  const here = part("pareto");
  const names = [...metrics.keys()].filter((name) =>
    columns.metrics[name].some((value) => value !== null),
  );
  if (!names.length) return absent(here, "No point has metrics.");
  const wanted = data.objectives.map((each) => each.name).filter((name) => names.includes(name));
  const order = [...new Set([...wanted, ...names.filter(sideOf), ...names])];
  const state = { x: order[0], y: order[1] || order[0], color: defaultColor(), all: true };
  Object.assign(state, { logx: isWide(state.x), logy: isWide(state.y) });
  const set = (key) => (value) => {
    state[key] = value;
    draw();
  };
  const logs = {
    x: tick("log across", state.logx, set("logx")),
    y: tick("log up", state.logy, set("logy")),
  };
  const axis = (key) => (name) => {
    state[key] = name;
    state[`log${key}`] = logs[key].querySelector("input").checked = isWide(name);
    draw();
  };
  here.controls.replaceChildren(
    choice("Across", names, state.x, axis("x")),
    choice("Up", names, state.y, axis("y")),
    choice("Colour by", colorChoices(), state.color, set("color")),
    logs.x,
    logs.y,
    ...(data.counts.violates
      ? [tick("points that violate a constraint", state.all, set("all"))]
      : []),
  );
  const draw = () => drawPareto(here, state);
  onFilter(draw);
  draw();
}

// Whether a metric's good values are positive and span so much that a logarithm shows them better.
function isWide(name) {
  const values = points
    .filter((point) => point.status === "ok")
    .map((point) => valueOf(point, name))
    .filter((value) => value !== null);
  const low = values.reduce((a, b) => Math.min(a, b), Infinity);
  return low > 0 && values.reduce((a, b) => Math.max(a, b), 0) > 20 * low;
}

function drawPareto(here, state) {
  const { x, y } = state;
  const list = good().filter((point) => valueOf(point, x) !== null && valueOf(point, y) !== null);
  const front = frontOf(list, x, y);
  const words_ = [x, y]
    .map((name) => `${sideOf(name) < 0 ? "more" : "less"} ${name}`)
    .join(" and ");
  here.caption.textContent = front.length
    ? `The front of ${words_}: ${front.length} of ${list.length} points, joined by the line. Hover to see a point, click to open it.${thinnedNote(list)}`
    : `${list.length} points. There is no front where neither side of a metric is better.`;
  const bad = state.all
    ? visible().filter(
        (p) => p.status === "violates" && valueOf(p, x) !== null && valueOf(p, y) !== null,
      )
    : [];
  chart(here.figure, () => paretoChart(state, list, front, bad));
  const of = front.length ? front : list;
  new Table(here.table, {
    caption: front.length ? `Front of ${words_}` : `Points by ${x} and ${y}`,
    rows: of,
    open: openPoint,
    columns: [
      x,
      y,
      ...varied,
      ...[...metrics.keys()].filter((name) => name !== x && name !== y),
    ].map((name) => columnOf(name, of)),
  });
}

function paretoChart(state, list, front, bad) {
  const { x, y } = state;
  const sx = commonScale(
    [...list, ...bad].map((p) => valueOf(p, x)),
    unitOf(x),
  );
  const sy = commonScale(
    [...list, ...bad].map((p) => valueOf(p, y)),
    unitOf(y),
  );
  const fx = (point) => valueOf(point, x) / sx.factor;
  const fy = (point) => valueOf(point, y) / sy.factor;
  const color = ink();
  const line = {
    type: "scatter",
    mode: "lines",
    name: "front",
    legendrank: 1001, // after the others
    x: front.map(fx),
    y: front.map(fy),
    hoverinfo: "skip",
    line: { color: color.text, width: 1.6 },
  };
  const rings = {
    type: "scatter",
    mode: "markers",
    x: front.map(fx),
    y: front.map(fy),
    hoverinfo: "skip",
    showlegend: false,
    marker: { size: 17, color: "rgba(0,0,0,0)", line: { color: color.text, width: 1.6 } },
  };
  const violating = scatter(thinned(bad), "", fx, fy).map((trace) => ({
    ...trace,
    name: "violates a constraint",
    legendrank: 1002,
    showlegend: bad.length > 0,
    marker: {
      color: color.muted,
      symbol: "x-thin-open",
      size: 8,
      line: { width: 1.4, color: color.muted },
    },
  }));
  return {
    traces: [line, ...violating, ...scatter(thinned(list), state.color, fx, fy), rings],
    layout: {
      height: 480,
      xaxis: { title: better(x, sx), ...along(state.logx) },
      yaxis: { title: better(y, sy), ...along(state.logy) },
      legend: legend(state.color),
    },
    click: opens,
  };
}

const along = (log) => (log ? logarithmic([1, 2, 5]) : { type: "linear", rangemode: "tozero" });
const better = (name, scale) =>
  plain(titled(name, scale.unit)) +
  (sideOf(name) ? `<br>${sideOf(name) > 0 ? "less" : "more"} is better` : "");
const legend = (name) => ({
  ...framed({}).legend,
  title: { text: name ? `${plain(name)}  ` : "", side: "left" },
});

function absent(here, why) {
  here.controls.replaceChildren();
  here.figure.replaceChildren();
  here.caption.textContent = why;
  here.table.replaceChildren();
  here.section.querySelector("details").hidden = true;
}
