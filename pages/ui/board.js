// What changes many times a second while a run goes on, as one element: a line, a bar, numbers, and plotly figures that are
// updated in place.
//
// Drawing a figure anew takes Plotly many times as long as moving its lines. So a figure that grows gets axes with room to
// grow into, and while all that is new is data that fit into them, only the lines move.

const GROWTH = { x: 0.25, y: 0.1 };  // the room, as a share of what is shown
const KINDS = { i1: Int8Array, u1: Uint8Array, i2: Int16Array, u2: Uint16Array, i4: Int32Array, u4: Uint32Array,
  f4: Float32Array, f8: Float64Array };

let library = null;
function plotly() {
  library ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = new URL("plotly/plotly.min.js", document.baseURI);
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => { library = null; reject(new Error("plotly.js did not load: start the app with app.py")); };
    document.head.append(script);
  });
  return library;
}

function themed(layout, style) {
  const read = name => style.getPropertyValue(name).trim();
  const text = read("--st-text-color"), lines = read("--st-border-color");
  const out = { ...layout, template: undefined, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { ...layout.font, color: text, family: read("--st-font") } };
  for (const name of axes(out))
    // Measuring every label anew, to make room for it or to hide it, would take longer than all else.
    out[name] = { gridcolor: lines, zerolinecolor: lines, linecolor: lines, ticklabeloverflow: "allow", ...out[name] };
  return out;
}

const axes = layout => Object.keys(layout).filter(name => /^[xy]axis/.test(name));
const axisOf = (id, letter) => letter + "axis" + (id ?? letter).slice(1);
const equal = (a, b) => JSON.stringify(a) === JSON.stringify(b);

function decoded(column) {
  if (column?.bdata === undefined) return column;
  const text = atob(column.bdata), bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return new KINDS[column.dtype](bytes.buffer);
}

// The least and the greatest number along each axis: {axis: [least, greatest]}.
function spans({ data, layout }) {
  const out = {};
  const widen = (name, values) => {
    const span = out[name] ??= [Infinity, -Infinity];
    for (const value of values) {
      if (value < span[0]) span[0] = value;
      if (value > span[1]) span[1] = value;
    }
  };
  for (const trace of data)
    for (const letter of ["x", "y"])
      if (trace[letter]?.length) widen(axisOf(trace[letter + "axis"], letter), trace[letter]);
  for (const { yref, y0, y1 } of layout.shapes ?? [])
    if (/^y\d*$/.test(yref)) widen(axisOf(yref, "y"), [y0, y1]);
  return out;
}

// Ranges with room to grow for the axes to which the figure gives none: {axis: range}.
function roomy(figure) {
  const out = {};
  for (const [name, [least, greatest]] of Object.entries(spans(figure))) {
    if (figure.layout[name]?.range || least > greatest) continue;
    const room = GROWTH[name[0]] * (greatest - least || Math.abs(greatest) || 1);
    out[name] = [name[0] === "x" ? least : least - room, greatest + room];
  }
  return out;
}

const fits = (figure, ranges) => Object.entries(spans(figure)).every(([name, [least, greatest]]) =>
  figure.layout[name]?.range || least > greatest || (ranges[name] && ranges[name][0] <= least && greatest <= ranges[name][1]));

// The ranges to which a person has zoomed: they are neither Plotly's own choice nor what it was given.
function zoomed(node, { given, drawn }, identity) {
  const out = {};
  if (drawn !== identity) return out;
  for (const name of axes(node._fullLayout)) {
    const { autorange, range } = node._fullLayout[name];
    if (!autorange && !equal(range, given[name])) out[name] = range;
  }
  return out;
}

async function draw(Plotly, node, state, { figure, config, isGrowing }) {
  const still = JSON.stringify([figure.data.map(trace => ({ ...trace, x: 0, y: 0 })), figure.layout, isGrowing]);
  if (isGrowing && still === state.still && fits(figure, state.given)) {
    const data = figure.data.map(({ x, y }) => ({ x, y }));
    const now = { mode: "immediate", transition: { duration: 0 }, frame: { duration: 0, redraw: false } };
    return Plotly.animate(node, { data, traces: data.map((_, i) => i) }, now);
  }
  const identity = figure.layout.uirevision;
  const kept = zoomed(node, state, identity);
  const given = isGrowing ? roomy(figure) : {};
  for (const name of axes(figure.layout)) if (figure.layout[name].range) given[name] = figure.layout[name].range;
  const layout = { ...figure.layout };
  for (const [name, range] of Object.entries({ ...given, ...kept }))
    layout[name] = { ...layout[name], range: [...range], autorange: false };  // Plotly zooms in that very array
  await Plotly.react(node, figure.data, layout, config);
  Object.assign(state, { still, given, drawn: identity });
}

// The charts of a page take turns, one a frame: the first is seen while the next is drawn, and a hidden page draws none.
let turn = Promise.resolve();
const frame = () => new Promise(requestAnimationFrame);
function inTurn(act) {
  const done = turn.then(act);
  turn = done.then(frame, frame);
  return done;
}

const states = new WeakMap();
const resized = new ResizeObserver(entries => {
  for (const { target } of entries)
    if (target._fullLayout && target.offsetWidth && target.offsetWidth !== target._fullLayout.width)
      inTurn(() => target.isConnected && window.Plotly.Plots.resize(target));
});

// Plotly draws in steps: what arrives while it draws waits, and only the newest of it is drawn.
async function keepDrawing(node, state) {
  if (state.isDrawing) return;
  state.isDrawing = true;
  try {
    const Plotly = await plotly();
    while (state.next && node.isConnected) await inTurn(async () => {
      const next = state.next;
      state.next = null;
      if (!next || !node.isConnected) return;
      await draw(Plotly, node, state, next);
      node.dispatchEvent(new CustomEvent("drawn"));
    });
  } catch (error) {
    if (!window.Plotly) node.textContent = error.message;
    else console.warn(error);
  } finally {
    state.isDrawing = false;
  }
}

function chart(node, { figure: text, identity, alt, height, growing }) {
  node.setAttribute("aria-label", alt);
  node.style.height = height + "px";
  const figure = JSON.parse(text);
  for (const trace of figure.data) Object.assign(trace, { x: decoded(trace.x), y: decoded(trace.y) });
  figure.layout = themed({ ...figure.layout, uirevision: identity, height }, getComputedStyle(node));
  const state = states.get(node) ?? {};
  if (!states.has(node)) resized.observe(node);
  states.set(node, state);
  state.next = {
    figure,
    isGrowing: growing,
    config: { displaylogo: false, doubleClick: "autosize",
      toImageButtonOptions: { filename: identity, scale: 2 },
      modeBarButtonsToRemove: ["lasso2d", "select2d", "resetScale2d", "sendChartToCloud"] },
  };
  keepDrawing(node, state);
}

// So many children of a node, each made once.
function children(node, count, make) {
  while (node.children.length > count) node.lastElementChild.remove();
  while (node.children.length < count) node.append(make());
  return [...node.children];
}

function made(name, attributes = {}, ...inside) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...inside);
  return node;
}

const write = (node, text) => { if (node.textContent !== text) node.textContent = text; };

function number(node, [label, value, help]) {
  const [name, shown] = children(node, 2, () => made(node.children.length ? "dd" : "dt"));
  if (name.firstChild?.data !== label) {
    name.replaceChildren(label);
    if (help) name.append(" ", made("span", { class: "tip", tabindex: 0, role: "note", "aria-label": help, "data-tip": help }, "?"));
  }
  write(shown, value);
}

export default function ({ data, parentElement }) {
  const board = parentElement.querySelector(".board");
  const [said, bar, numbers, charts] = board.children;
  said.hidden = bar.hidden = data.share === null;
  write(said, data.said);
  bar.setAttribute("aria-valuenow", Math.round(100 * data.share));
  bar.firstElementChild.style.transform = `scaleX(${data.share})`;
  children(numbers, data.numbers.length, () => made("div")).forEach((node, i) => number(node, data.numbers[i]));
  charts.style.setProperty("--columns", data.columns);
  const drawn = children(charts, data.charts.length, () => made("div", { class: "live-chart", role: "figure" }));
  drawn.forEach((node, i) => chart(node, data.charts[i]));
  return () => {
    for (const node of drawn) {
      if (states.has(node)) states.get(node).next = null;
      if (window.Plotly && !node.isConnected) window.Plotly.purge(node);
    }
  };
}
