// The upright axes of parallel coordinates.

// An axis from 0 to 1: its values if they are few or texts, else a linear scale.
function upright(name, list) {
  const values = data.axes[name];
  if (values) {
    const places = new Map(
      values.map((value, i) => [
        JSON.stringify(value),
        values.length > 1 ? i / (values.length - 1) : 0.5,
      ]),
    );
    const ticks = values.length > 12 ? [values[0], values.at(-1)] : values;
    return {
      name,
      title: name,
      at: (value) => places.get(JSON.stringify(value)),
      ticks: ticks.map((v) => [places.get(JSON.stringify(v)), shown(name, v)]),
    };
  }
  const numbers_ = list.map((point) => valueOf(point, name));
  const [low, high] = numbers_.length
    ? [numbers_.reduce((a, b) => Math.min(a, b)), numbers_.reduce((a, b) => Math.max(a, b))]
    : [0, 1];
  const scale = commonScale([high], unitOf(name));
  const log = isWide(name);
  const to = log ? Math.log10 : (value) => value;
  const at = (value) => (high > low ? (to(value) - to(low)) / (to(high) - to(low)) : 0.5);
  const ticks =
    high > low
      ? (log ? logTicks : evenTicks)(low / scale.factor, high / scale.factor)
      : [low / scale.factor];
  return {
    name,
    title: titled(name, scale.unit) + (log ? " log" : ""),
    at,
    ticks: ticks.map((value) => [at(value * scale.factor), digits(value)]),
  };
}

// About five round numbers between two.
function evenTicks(low, high) {
  const rough = (high - low) / 5;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = unit * [1, 2, 5, 10].find((factor) => factor * unit >= rough);
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, i) =>
    Number(((first + i) * step).toPrecision(12)),
  );
}

// 1, 2 and 5 of every power of ten between two; the ones alone if they are many.
function logTicks(low, high) {
  const tens = Array.from({ length: 40 }, (_, i) => i - 20);
  const of = (digits_) =>
    tens
      .flatMap((ten) => digits_.map((digit) => Number(`${digit}e${ten}`)))
      .filter((v) => v >= low && v <= high);
  return of([1, 2, 5]).length > 8 ? of([1]) : of([1, 2, 5]);
}
