// What changes many times a second while a run goes on or a slider moves, as one element: a line and a bar, a notice, numbers,
// plotly figures that are updated in place, and a table.
//
// Drawing a figure anew takes Plotly two or three times as long as moving its lines and axes. So while a figure differs from the one
// before only in its data, the names of its traces and its ranges, no more than those are moved; and a figure that grows gets
// axes with room to grow into, so that they seldom are.

const NARROW_PX = 560, STACKED_PX = 150;
const GROWTH = { x: 0.4, y: 0.1 }, TIGHT = { x: 0, y: 0.05 };  // the room, as a share of what is shown
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
  const out = { ...layout, template: undefined, paper_bgcolor: read("--st-background-color"), plot_bgcolor: "rgba(0,0,0,0)",
    font: { ...layout.font, color: text, family: read("--st-font") } };
  for (const name of axes(out))
    // Measuring every label anew, to make room for it or to hide it, would take longer than all else.
    out[name] = { gridcolor: lines, zerolinecolor: lines, linecolor: lines, ticklabeloverflow: "allow", ...out[name] };
  return out;
}

// Small charts side by side, in a place that is too narrow for that: one below the other. The height they take.
function stack(layout, height) {
  const across = axes(layout).filter(name => name[0] === "x"), part = 1 / across.length;
  if (!across.some(name => layout[name].domain?.[0] > 0)) return height;
  across.forEach((name, i) => {
    const top = 1 - i * part, bottom = top - 0.68 * part;
    layout[name] = { ...layout[name], domain: [0, 1], title: i < across.length - 1 ? undefined : layout[name].title };
    layout[`y${name.slice(1)}`] = { ...layout[`y${name.slice(1)}`], domain: [bottom, top] };
    layout.annotations[i] = { ...layout.annotations[i], x: 0.5, y: top };
  });
  return STACKED_PX * across.length;
}

const axes = layout => Object.keys(layout).filter(name => /^[xy]axis/.test(name));
const axisOf = (id, letter) => letter + "axis" + (id ?? letter).slice(1);
const equal = (a, b) => JSON.stringify(a) === JSON.stringify(b);

// Plain arrays: in an array of a type Plotly takes every number for the name of a property that may be a path.
function decoded(column, data) {
  if (column?.of !== undefined) return data[column.of].x;
  if (column?.bdata === undefined) return column;
  const text = atob(column.bdata), bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return Array.from(new KINDS[column.dtype](bytes.buffer));
}

// The least and the greatest along each axis, as its range counts: {axis: [least, greatest]}.
function spans({ data, layout }) {
  const out = {};
  const isLog = name => layout[name]?.type === "log";
  const widen = (name, values) => {
    const span = out[name] ??= [Infinity, -Infinity], beyond = isLog(name) ? 0 : -Infinity;
    for (const value of values) {
      if (value <= beyond) continue;
      if (value < span[0]) span[0] = value;
      if (value > span[1]) span[1] = value;
    }
  };
  for (const trace of data)
    for (const letter of ["x", "y"])
      if (trace[letter]?.length) widen(axisOf(trace[letter + "axis"], letter), trace[letter]);
  for (const { yref, y0, y1 } of layout.shapes ?? [])
    if (/^y\d*$/.test(yref)) widen(axisOf(yref, "y"), [y0, y1]);
  for (const name in out) if (isLog(name)) out[name] = out[name].map(Math.log10);
  return out;
}

const given = figure => Object.fromEntries(axes(figure.layout).filter(name => figure.layout[name].range)
  .map(name => [name, figure.layout[name].range]));

// Ranges for the axes to which the figure gives none, with room to grow where it grows: {axis: range}.
function roomy(figure, { x, y }) {
  const out = {};
  for (const [name, [least, greatest]] of Object.entries(spans(figure))) {
    if (!Number.isFinite(greatest - least)) continue;
    const size = greatest - least || Math.abs(greatest) || 1;
    if (greatest === least) out[name] = [least - size / 2, greatest + size / 2];
    else out[name] = name[0] === "x" ? [least, greatest + x * size] : [least - y * size, greatest + y * size];
  }
  return { ...out, ...given(figure) };
}

const fits = (figure, ranges) => Object.entries({ ...spans(figure), ...given(figure) }).every(([name, [least, greatest]]) =>
  least > greatest || (ranges[name] && ranges[name][0] <= least && greatest <= ranges[name][1]));

// Whether an axis has this range: one of dates spells it in words.
const spansNow = ({ autorange, range, r2l }, wanted) => !autorange && equal(range.map(end => r2l(end)), wanted);

// The ranges to which a person has zoomed: they are neither Plotly's own choice nor what it was given.
function zoomed(node, { ranges, identity }, next) {
  const out = {};
  if (identity !== next) return out;
  for (const name of axes(node._fullLayout)) {
    const axis = node._fullLayout[name];
    if (!axis.autorange && !spansNow(axis, ranges[name])) out[name] = axis.range.map(end => axis.r2l(end));
  }
  return out;
}

// A figure without what can be moved.
const still = ({ data, layout }) => JSON.stringify(
  [data.map(({ x, y, name, ...rest }) => rest), { ...layout, uirevision: null }],
  (key, value) => key === "range" ? undefined : value,
);

async function draw(Plotly, node, state, { figure, config, isGrowing }) {
  const identity = figure.layout.uirevision;
  const kept = zoomed(node, state, identity);
  const stays = isGrowing && state.identity === identity && fits(figure, state.ranges);
  const ranges = stays ? state.ranges : roomy(figure, isGrowing ? GROWTH : TIGHT);
  const unmoved = still(figure);
  if (unmoved === state.still) await move(Plotly, node, figure, { ...ranges, ...kept });
  else {
    const layout = { ...figure.layout };
    for (const [name, range] of Object.entries({ ...ranges, ...kept }))
      layout[name] = { ...layout[name], range: [...range], autorange: false };  // Plotly zooms in that very array
    await Plotly.react(node, figure.data, layout, config);
  }
  node.layout.uirevision = identity;
  node._context.toImageButtonOptions.filename = identity;  // a chart that only moves keeps the config of its first drawing
  Object.assign(state, { still: unmoved, ranges, identity });
}

const AT_ONCE = { mode: "immediate", transition: { duration: 0 }, frame: { duration: 0, redraw: false } };
const canRehearse = ({ data, _fullLayout: layout }) =>
  data.every(trace => !trace.x?.length) && axes(layout).every(name => !layout[name].autorange);

// The first lines a page moves take it half as long again: in a chart that has none yet it moves some once, below what is
// shown, while it has nothing else to do.
function rehearse(Plotly, node, state) {
  const act = async () => {
    if (state.next || !node.isConnected || !canRehearse(node)) return;
    const x = Array.from({ length: 50 }, (_, i) => i / 50), below = node._fullLayout.yaxis.range[0] - 9;
    const traces = node.data.map((_, i) => i);
    for (const line of [{ x, y: x.map(value => below + value) }, { x: [], y: [] }])
      await Plotly.animate(node, { data: traces.map(() => line), traces }, AT_ONCE);
  };
  (window.requestIdleCallback ?? setTimeout)(() => inTurn(act).catch(console.warn));
}

const legend = data => data.map(trace => trace.x?.length > 0 && trace.name);

async function move(Plotly, node, { data }, ranges) {
  const listed = legend(node.data);
  const layout = {}, at = data.map((_, i) => i);
  for (const [name, range] of Object.entries(ranges))
    if (!spansNow(node._fullLayout[name], range))
      Object.assign(layout, { [`${name}.range`]: [...range], [`${name}.autorange`]: false });
  await Plotly.animate(node, { data: data.map(({ x, y }) => ({ x, y })), traces: at, layout }, AT_ONCE);
  // The legend is drawn anew only where it says something else: a trace without data is not in it.
  if (!equal(listed, legend(data))) await Plotly.restyle(node, { name: data.map(trace => trace.name) }, at);
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
      const isFirst = state.still === undefined;
      await draw(Plotly, node, state, next);
      if (isFirst && canRehearse(node)) rehearse(Plotly, node, state);
      node.dispatchEvent(new CustomEvent("drawn"));
    });
  } catch (error) {
    if (!window.Plotly) node.textContent = error.message;
    else console.warn(error);
  } finally {
    state.isDrawing = false;
  }
}

// Whether the figure is there: it is not sent to who has it.
function chart(node, { figure: sent, version, identity, alt, height, growing }) {
  node.setAttribute("aria-label", alt);
  node.style.height ||= height + "px";
  const state = states.get(node) ?? {};
  if (!states.has(node)) resized.observe(node);
  states.set(node, state);
  const style = getComputedStyle(node), colour = style.getPropertyValue("--st-text-color");
  const text = sent ?? (version === state.version ? state.text : null);
  if (text === null) return false;
  if (version === state.version && growing === state.growing && colour === state.colour) return true;
  const figure = JSON.parse(text);
  for (const trace of figure.data) Object.assign(trace, { x: decoded(trace.x, figure.data), y: decoded(trace.y) });
  if (node.offsetWidth < NARROW_PX) height = stack(figure.layout, height);
  node.style.height = height + "px";
  figure.layout = themed({ ...figure.layout, uirevision: identity, height }, style);
  Object.assign(state, { version, text, growing, colour });
  state.next = {
    figure,
    isGrowing: growing,
    config: { displaylogo: false, doubleClick: "autosize",
      toImageButtonOptions: { filename: identity, scale: 2 },
      modeBarButtonsToRemove: ["lasso2d", "select2d", "resetScale2d", "sendChartToCloud"] },
  };
  keepDrawing(node, state);
  return true;
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

function tell(place, notice) {
  place.hidden = !notice;
  if (!notice) return;
  place.className = `notice ${notice.is_good ? "good" : "doubt"}`;
  const texts = [notice.text, ...notice.more].map((text) => text.replaceAll(" %", "\u00a0%")); // no line begins with it
  children(place, texts.length, () => made("p")).forEach((node, i) => write(node, texts[i]));
}

function tabulate(place, table) {
  place.hidden = !table;
  if (!table) return;
  const [caption, head, body] = place.firstElementChild.children;
  write(caption, table.caption);
  place.setAttribute("aria-label", table.caption);
  const spelled = JSON.stringify(table.columns);
  if (head.dataset.columns !== spelled) {
    head.dataset.columns = spelled;
    const groups = Map.groupBy(table.columns, ([group]) => group);
    const above = [...groups].map(([group, { length }]) => made("th", { colspan: length, scope: "colgroup" }, group));
    const names = table.columns.map(([, name]) => made("th", { scope: "col" }, name));
    head.replaceChildren(made("tr", {}, made("td"), ...above), made("tr", {}, made("td"), ...names));
  }
  children(body, table.rows.length, () => made("tr")).forEach((row, i) => {
    const [name, meaning, cells] = table.rows[i];
    const [header, ...shown] = children(row, 1 + cells.length, () => made(row.children.length ? "td" : "th", { scope: "row" }));
    header.title = meaning;
    write(header, name);
    shown.forEach((cell, k) => write(cell, cells[k]));
  });
}

// Whether all figures are there.
function show(board, frame, columns) {
  const [said, bar, notice, numbers, charts, table] = board.children;
  said.hidden = bar.hidden = frame.share === null;
  write(said, frame.said);
  bar.setAttribute("aria-valuenow", Math.round(100 * frame.share));
  bar.firstElementChild.style.transform = `scaleX(${frame.share})`;
  children(numbers, frame.numbers.length, () => made("div")).forEach((node, i) => number(node, frame.numbers[i]));
  tell(notice, frame.notice);
  tabulate(table, frame.table);
  charts.style.setProperty("--columns", columns);
  const drawn = children(charts, frame.charts.length, () => made("div", { class: "live-chart", role: "figure" }));
  return drawn.map((node, i) => chart(node, frame.charts[i])).every(Boolean);
}

const chartsOf = board => [...board.querySelectorAll(".live-chart")];

const RETRY_S = 1;

// Looks again and again, and at once when the slider moves or the button is pressed, until it is stopped. A page that nobody
// sees does not look.
class Watch {
  constructor(board, { frame, columns, stream, slider, at, button }, turn, before) {
    Object.assign(this, { board, columns, stream, turn, at, button, drawnFor: frame.turn });
    addEventListener("click", this, true);
    addEventListener("keydown", this, true);
    this.slider = slider && `.st-key-${slider} input`;
    this.moves = new MutationObserver(changes => changes.some(({ target }) => target.matches(this.slider)) && this.look());
    // The slider may come after the board, or anew.
    if (slider) this.moves.observe(document.body, { attributes: true, attributeFilter: ["value"], subtree: true });
    if (Number(this.standsAt()) !== Number(at)) this.look();  // it has moved on since
    else if (show(board, frame, columns)) this.later(frame.wait);
    else this.catchUp(frame, before?.asking);
  }

  // What is not there the watch before this one may be about to be told.
  async catchUp(frame, asking) {
    const told = await asking;
    if (this.isOver) return;
    if (told) show(this.board, told, this.columns);
    if (show(this.board, frame, this.columns)) this.later(frame.wait);
    else this.look();
  }

  standsAt() {
    return (this.slider && document.querySelector(this.slider)?.value) || this.at;
  }

  stop() {
    this.isOver = true;
    this.moves.disconnect();
    removeEventListener("click", this, true);
    removeEventListener("keydown", this, true);
    clearTimeout(this.timer);
  }

  // The button makes the page run again, which takes longer than a look at what it has begun.
  handleEvent({ type, target, ctrlKey, key }) {
    const button = this.button && document.querySelector(`.st-key-${this.button} button`);
    if (!button || button.disabled || !(type === "click" ? button.contains(target) : ctrlKey && key === "Enter")) return;
    this.isPressed = true;
    this.look();
  }

  later(wait) {
    clearTimeout(this.timer);
    if (wait !== null) this.timer = setTimeout(() => this.look(), 1000 * wait);
  }

  async look() {
    if (this.isOver || !this.stream) return;
    if (document.hidden) return document.addEventListener("visibilitychange", () => this.look(), { once: true });
    if (this.isLooking) return this.isDue = true;
    this.isLooking = true;
    this.isDue = false;
    const isPressed = this.isPressed;
    this.isPressed = false;
    this.asking = this.ask(isPressed);
    const frame = await this.asking;
    this.isLooking = false;
    if (this.isOver) return;
    if (frame) show(this.board, frame, this.columns);
    if (frame && isPressed) this.drawnFor = frame.turn;  // the page runs again without being told
    const turns = frame && frame.turn !== this.drawnFor;
    if (turns) this.turn(frame.turn);
    if (this.isDue) this.look();
    else this.later(frame && !turns ? frame.wait : RETRY_S);  // until the page has run again, and there is another watch
  }

  async ask(isDue) {
    const have = chartsOf(this.board).map(node => states.get(node).version);
    const query = new URLSearchParams({ have, at: this.standsAt(), due: isDue ? 1 : "" });
    const headers = { "X-Live-Ticket": this.stream };
    const answer = await fetch(new URL(`live?${query}`, document.baseURI), { headers }).catch(() => null);
    if (answer?.ok) return answer.json();
    if (answer?.status === 404) this.turn(this.stream);  // the server was started anew, or what was looked at is gone
    return null;
  }
}

const watches = new WeakMap();

export default function ({ data, parentElement, setTriggerValue }) {
  const board = parentElement.querySelector(".board");
  const before = watches.get(board);
  before?.stop();
  watches.set(board, new Watch(board, data, now => setTriggerValue("turn", now), before));
  return () => {
    watches.get(board).stop();
    for (const node of chartsOf(board)) {
      states.get(node).next = null;
      if (window.Plotly && !board.isConnected) window.Plotly.purge(node);
    }
  };
}
