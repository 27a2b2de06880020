// What all parts share: the data, elements, the filter.
const data = JSON.parse(document.getElementById("data").textContent);
const columns = data.points;
const inputs = new Map(data.inputs.map((each) => [each.name, each]));
const metrics = new Map(data.metrics.map((each) => [each.name, each]));
const varied = Object.keys(data.axes);

const points = columns.key.map((key, i) => ({
  i,
  key,
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

// Points in the order of the axes, not of their keys.
const inOrder = (() => {
  const places = varied.map(
    (name) => new Map(data.axes[name].map((value, i) => [JSON.stringify(value), i])),
  );
  const place = new Map(
    points.map((point) => [
      point,
      varied.map((name, k) => places[k].get(JSON.stringify(valueOf(point, name))) ?? -1),
    ]),
  );
  const order = (a, b) => {
    const [x, y] = [place.get(a), place.get(b)];
    const k = x.findIndex((value, i) => value !== y[i]);
    return k < 0 ? a.i - b.i : x[k] - y[k];
  };
  return [...points].sort(order);
})();

// ---- elements: texts are never taken for markup

function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== null && value !== undefined && value !== false)
      made.setAttribute(key, value);
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

// ---- the filter: which points are shown, everywhere

const filter = new Map();
const listeners = [];
const onFilter = (listener) => listeners.push(listener);
const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
const passes = (point) =>
  [...filter].every(([name, values]) => values.some((v) => same(v, valueOf(point, name))));
const visible = () => inOrder.filter(passes);
const good = () => visible().filter((point) => point.status === "ok");

// Show only points with one of these values; null: with any.
function setFilter(name, values) {
  if (values === null) filter.delete(name);
  else filter.set(name, values);
  listeners.forEach((listener) => listener());
}
