// Watch a policy act, and see what it would do anywhere: the physics and the network run here, in the browser, so that
// playing, scrubbing, nudging and going back to an older checkpoint answer at once.

// ---- the tasks, as Gymnasium defines them

const clip = (x, low, high) => Math.min(high, Math.max(low, x));
const wrap = x => x - 2 * Math.PI * Math.floor((x + Math.PI) / (2 * Math.PI));
const between = (random, low, high) => low + (high - low) * random();

const TASKS = {
  "CartPole-v1": {
    dt: 0.02, limit: 500,
    reset: random => [0, 0, 0, 0].map(() => between(random, -0.05, 0.05)),
    observe: s => s,
    step([x, v, a, w], action) {
      const force = action === 1 ? 10 : -10, cos = Math.cos(a), sin = Math.sin(a);
      const pushed = (force + 0.05 * w * w * sin) / 1.1;
      const spin = (9.8 * sin - cos * pushed) / (0.5 * (4 / 3 - 0.1 * cos * cos / 1.1));
      const speedup = pushed - 0.05 * spin * cos / 1.1;
      return [x + 0.02 * v, v + 0.02 * speedup, a + 0.02 * w, w + 0.02 * spin];
    },
    reward: () => 1,
    over: ([x, , a]) => Math.abs(x) > 2.4 || Math.abs(a) > 12 * Math.PI / 180,
    nudge: ([x, v, a, w], direction) => [x, v, a, w + direction * 0.8],
    map: { x: [2, "angle (°)", -12, 12, Math.PI / 180], y: [3, "angular velocity (rad/s)", -2.5, 2.5, 1],
      fixed: [[0, "Position", -2.4, 2.4, "m"], [1, "Speed", -2, 2, "m/s"]] },
    draw(pen, [x, , a], w, h, ink, colour) {
      const unit = w / 5.2, ground = h * 0.78, at = w / 2 + x * unit;
      pen.strokeStyle = ink.line; pen.lineWidth = 1;
      pen.beginPath(); pen.moveTo(w / 2 - 2.4 * unit, ground); pen.lineTo(w / 2 + 2.4 * unit, ground); pen.stroke();
      for (const edge of [-2.4, 2.4]) pen.strokeRect(w / 2 + edge * unit - 1, ground - 12, 2, 24);
      pen.fillStyle = colour; pen.fillRect(at - unit * 0.25, ground - unit * 0.28, unit * 0.5, unit * 0.28);
      pen.strokeStyle = ink.pole; pen.lineWidth = Math.max(4, unit * 0.09); pen.lineCap = "round";
      const top = ground - unit * 0.28;
      pen.beginPath(); pen.moveTo(at, top); pen.lineTo(at + Math.sin(a) * unit, top - Math.cos(a) * unit); pen.stroke();
      pen.fillStyle = ink.text; pen.beginPath(); pen.arc(at, top, 3, 0, 7); pen.fill();
    },
  },
  "MountainCar-v0": {
    dt: 0.04, limit: 200,
    reset: random => [between(random, -0.6, -0.4), 0],
    observe: s => s,
    step([x, v], action) {
      let speed = clip(v + (action - 1) * 0.001 - 0.0025 * Math.cos(3 * x), -0.07, 0.07);
      const place = clip(x + speed, -1.2, 0.6);
      if (place === -1.2 && speed < 0) speed = 0;
      return [place, speed];
    },
    reward: () => -1,
    over: ([x, v]) => x >= 0.5 && v >= 0,
    nudge: ([x, v], direction) => [x, clip(v + direction * 0.015, -0.07, 0.07)],
    map: { x: [0, "position", -1.2, 0.6, 1], y: [1, "velocity", -0.07, 0.07, 1], fixed: [] },
    draw(pen, [x], w, h, ink, colour) {
      const px = p => (p + 1.2) / 1.8 * w * 0.94 + w * 0.03, py = p => h * 0.85 - (Math.sin(3 * p) + 1) * h * 0.32;
      pen.strokeStyle = ink.line; pen.lineWidth = 2; pen.beginPath();
      for (let p = -1.2; p <= 0.601; p += 0.02) pen.lineTo(px(p), py(p));
      pen.stroke();
      pen.strokeStyle = ink.pole; pen.beginPath(); pen.moveTo(px(0.5), py(0.5)); pen.lineTo(px(0.5), py(0.5) - 26); pen.stroke();
      pen.fillStyle = colour; pen.beginPath(); pen.arc(px(x), py(x) - 9, 9, 0, 7); pen.fill();
    },
  },
  "Acrobot-v1": {
    dt: 0.05, limit: 500,
    reset: random => [0, 0, 0, 0].map(() => between(random, -0.1, 0.1)),
    observe: ([a, b, u, v]) => [Math.cos(a), Math.sin(a), Math.cos(b), Math.sin(b), u, v],
    step(state, action) {
      const torque = action - 1;
      const slope = ([a, b, u, v]) => {
        const d1 = 0.25 + (1 + 0.25 + Math.cos(b)) + 2, d2 = 0.25 + 0.5 * Math.cos(b) + 1;
        const phi2 = 4.9 * Math.cos(a + b - Math.PI / 2);
        const phi1 = -0.5 * v * v * Math.sin(b) - v * u * Math.sin(b) + 1.5 * 9.8 * Math.cos(a - Math.PI / 2) + phi2;
        const acc2 = (torque + d2 / d1 * phi1 - 0.5 * u * u * Math.sin(b) - phi2) / (0.25 + 1 - d2 * d2 / d1);
        return [u, v, -(d2 * acc2 + phi1) / d1, acc2];
      };
      const plus = (s, k, size) => s.map((x, i) => x + k[i] * size);
      const k1 = slope(state), k2 = slope(plus(state, k1, 0.1)), k3 = slope(plus(state, k2, 0.1)), k4 = slope(plus(state, k3, 0.2));
      const [a, b, u, v] = state.map((x, i) => x + 0.2 / 6 * (k1[i] + 2 * k2[i] + 2 * k3[i] + k4[i]));
      return [wrap(a), wrap(b), clip(u, -4 * Math.PI, 4 * Math.PI), clip(v, -9 * Math.PI, 9 * Math.PI)];
    },
    reward: (s, isOver) => isOver ? 0 : -1,
    over: ([a, b]) => -Math.cos(a) - Math.cos(a + b) > 1,
    nudge: ([a, b, u, v], direction) => [a, b, u + direction * 1.5, v],
    map: { x: [0, "first angle (°)", -180, 180, Math.PI / 180], y: [2, "its velocity (rad/s)", -6, 6, 1],
      fixed: [[1, "Second angle", -3.14, 3.14, "rad"], [3, "Its velocity", -9, 9, "rad/s"]] },
    draw(pen, [a, b], w, h, ink, colour) {
      const unit = h * 0.2, x0 = w / 2, y0 = h * 0.48;
      const x1 = x0 + Math.sin(a) * unit, y1 = y0 + Math.cos(a) * unit;
      const x2 = x1 + Math.sin(a + b) * unit, y2 = y1 + Math.cos(a + b) * unit;
      pen.strokeStyle = ink.line; pen.lineWidth = 1; pen.setLineDash([5, 5]);
      pen.beginPath(); pen.moveTo(w * 0.15, y0 - unit); pen.lineTo(w * 0.85, y0 - unit); pen.stroke(); pen.setLineDash([]);
      pen.lineCap = "round"; pen.lineWidth = 8; pen.strokeStyle = colour;
      pen.beginPath(); pen.moveTo(x0, y0); pen.lineTo(x1, y1); pen.stroke();
      pen.strokeStyle = ink.pole; pen.beginPath(); pen.moveTo(x1, y1); pen.lineTo(x2, y2); pen.stroke();
      pen.fillStyle = ink.text;
      for (const [x, y] of [[x0, y0], [x1, y1]]) { pen.beginPath(); pen.arc(x, y, 4, 0, 7); pen.fill(); }
    },
  },
  "Pendulum-v1": {
    dt: 0.05, limit: 200, torque: 2,
    reset: random => [between(random, -Math.PI, Math.PI), between(random, -1, 1)],
    observe: ([a, w]) => [Math.cos(a), Math.sin(a), w],
    step([a, w], u) {
      const speed = clip(w + (15 * Math.sin(a) + 3 * clip(u, -2, 2)) * 0.05, -8, 8);
      return [a + speed * 0.05, speed];
    },
    reward: ([a, w], isOver, u) => -(wrap(a) ** 2 + 0.1 * w * w + 0.001 * clip(u, -2, 2) ** 2),
    over: () => false,
    nudge: ([a, w], direction) => [a, clip(w + direction * 3, -8, 8)],
    map: { x: [0, "angle (°)", -180, 180, Math.PI / 180], y: [1, "angular velocity (rad/s)", -8, 8, 1], fixed: [] },
    draw(pen, [a], w, h, ink, colour) {
      const unit = h * 0.34, x0 = w / 2, y0 = h * 0.5;
      pen.lineCap = "round"; pen.lineWidth = 12; pen.strokeStyle = colour;
      pen.beginPath(); pen.moveTo(x0, y0); pen.lineTo(x0 + Math.sin(a) * unit, y0 - Math.cos(a) * unit); pen.stroke();
      pen.fillStyle = ink.text; pen.beginPath(); pen.arc(x0, y0, 4, 0, 7); pen.fill();
    },
  },
};

// ---- the policy

function decode(policy) {
  const bytes = Uint8Array.from(atob(policy.numbers), c => c.charCodeAt(0));
  const numbers = new Float32Array(bytes.buffer);
  let place = 0;
  const take = n => numbers.subarray(place, place += n);
  const sizes = policy.sizes, layers = [];
  const mean = take(sizes[0]), scale = take(sizes[0]);
  for (let i = 1; i < sizes.length; i++) layers.push([take(sizes[i] * sizes[i - 1]), take(sizes[i])]);
  return { ...policy, mean, scale, layers };
}

function outputs(policy, seen) {
  let x = seen.map((value, i) => (value - policy.mean[i]) / policy.scale[i]);
  policy.layers.forEach(([weight, bias], depth) => {
    const width = x.length, y = new Array(bias.length), isLast = depth === policy.layers.length - 1;
    for (let i = 0; i < bias.length; i++) {
      let sum = bias[i];
      for (let j = 0; j < width; j++) sum += weight[i * width + j] * x[j];
      y[i] = isLast ? sum : policy.activation === "relu" ? Math.max(sum, 0) : Math.tanh(sum);
    }
    x = y;
  });
  return x;
}

function probabilities(policy, seen) {
  const y = outputs(policy, seen), top = Math.max(...y);
  if (policy.kind === "values") return y.map(value => (value === top ? 1 : 0));
  const p = y.map(value => Math.exp(value - top)), total = p.reduce((a, b) => a + b);
  return p.map(value => value / total);
}

// Which way it leans, from −1 to 1: P(last action) − P(first action), or the mean torque over its bound.
function lean(task, policy, state) {
  const seen = task.observe(state);
  if (policy.kind === "gaussian") return clip(outputs(policy, seen)[0], -1, 1);
  const p = probabilities(policy, seen);
  return p[p.length - 1] - p[0];
}

// A number is in units of the bound of what it moves, as in training.
function choose(task, policy, seen, random) {
  if (policy.kind === "gaussian") return task.torque * clip(outputs(policy, seen)[0], -1, 1);
  const p = probabilities(policy, seen);
  if (!random) return p.indexOf(Math.max(...p));
  let left = random();
  for (let i = 0; i < p.length - 1; i++) if ((left -= p[i]) < 0) return i;
  return p.length - 1;
}

function randomFrom(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6D2B79F5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

// A whole episode, with nudges at the steps they were given; afterwards playing it is moving along it.
function playOut(task, policy, seed, nudges, isSampled) {
  const random = randomFrom(seed);
  const states = [task.reset(random)], actions = [], returns = [0];
  for (let t = 0; t < task.limit; t++) {
    let state = states[t];
    if (nudges[t]) state = states[t] = task.nudge(state, nudges[t]);
    const action = choose(task, policy, task.observe(state), isSampled ? random : null);
    const next = task.step(state, action), isOver = task.over(next);
    returns.push(returns[t] + task.reward(state, isOver, action));
    actions.push(action);
    states.push(next);
    if (isOver) break;
  }
  return { states, actions, returns, isOver: task.over(states[states.length - 1]) };
}

// ---- the stage

const stages = new WeakMap();

class Stage {
  constructor(root) {
    this.root = root;
    this.find = name => root.querySelector(`[data-part=${name}]`);
    this.seed = 1; this.nudges = {}; this.at = 0; this.isPlaying = false; this.wanted = Infinity;
    const on = (name, event, act) => this.find(name).addEventListener(event, act);
    on("play", "click", () => this.play(!this.isPlaying));
    on("again", "click", () => { this.seed += 1; this.nudges = {}; this.rehearse(); this.at = 0; this.play(true); });
    on("time", "input", e => { this.play(false); this.at = +e.target.value; this.paint(); });
    on("checkpoint", "input", e => { clearInterval(this.timer); this.look(+e.target.value); });
    on("replay", "click", () => this.replay());
    for (const name of ["ghost", "way"]) on(name, "change", () => { this.rehearse(); this.paint(); });
    on("view", "change", () => this.paint());
    on("map", "pointermove", ({ offsetX, offsetY }) => this.read(offsetX, offsetY));
    on("map", "pointerleave", () => this.describe());
    for (const name of ["stage", "map"]) on(`${name}-png`, "click", () => this.save(name));
    for (const [name, direction] of [["nudge-left", -1], ["nudge-right", 1]])
      on(name, "click", () => { this.nudges[Math.floor(this.at)] = direction; this.rehearse(); this.play(true); });
    const observer = new ResizeObserver(entries => { for (const entry of entries) measure(entry.target); this.paint(); });
    for (const name of ["stage", "map"]) observer.observe(this.find(name));
  }

  show(data) {
    const isNew = data.identity !== this.identity;
    this.identity = data.identity;
    Object.assign(this, { task: TASKS[data.task], actions: data.actions });
    this.policies = data.policies.map(decode);
    this.colours = null;
    if (isNew) { this.nudges = {}; this.at = 0; this.wanted = Infinity; this.buildFixed(); }
    const last = this.find("checkpoint").max = this.policies.length - 1;
    this.find("ghost").disabled = this.find("replay").disabled = last < 1;
    const { wanted } = this, later = this.policies.findIndex(policy => policy.update >= wanted);
    this.look(later < 0 ? last : later);
    this.wanted = wanted;
    if (isNew || data.plays !== this.plays) this.playByItself(data.plays);
    this.plays = data.plays;
  }

  // At another checkpoint; what is wanted is its update, or the last, whatever else will be known of this run.
  look(checkpoint) {
    this.checkpoint = this.find("checkpoint").value = checkpoint;
    this.wanted = checkpoint < this.policies.length - 1 ? this.policy.update : Infinity;
    this.rehearse();
    this.paint();
  }

  buildFixed() {
    const box = this.find("fixed");
    box.replaceChildren(...this.task.map.fixed.map(([index, name, low, high, unit]) => {
      const [label, input, output] = ["label", "input", "output"].map(name => document.createElement(name));
      Object.assign(input, { type: "range", min: low, max: high, step: (high - low) / 100, value: 0 });
      input.dataset.index = index;
      const tell = () => { output.textContent = `${tidy(+input.value)} ${unit}`; };
      input.addEventListener("input", () => { tell(); this.paint(); });
      tell();
      label.append(name, input, output);
      return label;
    }));
  }

  // What the two colours of the map stand for.
  get ends() { return this.policy.kind === "gaussian" ? ["negative torque", "positive torque"] : [this.actions[0][0], this.actions.at(-1)[0]]; }

  get policy() { return this.policies[this.checkpoint]; }

  get ghostPolicy() {
    const chosen = this.find("ghost").value;
    if (chosen === "none" || this.policies.length < 2) return null;
    return this.policies[chosen === "first" ? 0 : Math.floor(this.checkpoint / 2)];
  }

  rehearse() {
    const isSampled = this.find("way").value === "sampled";
    this.episode = playOut(this.task, this.policy, this.seed, this.nudges, isSampled);
    const ghost = this.ghostPolicy;
    this.ghost = ghost && playOut(this.task, ghost, this.seed, this.nudges, isSampled);
    const time = this.find("time");
    time.max = this.episode.states.length - 1;
    this.at = Math.min(this.at, time.max);
    const { update, steps } = this.policy;
    this.find("checkpoint-label").textContent = `update ${update.toLocaleString()} · ${steps.toLocaleString()} steps`;
  }

  play(isPlaying, isByItself = false) {
    if (isPlaying && this.at >= this.episode.states.length - 1) this.at = 0;
    Object.assign(this, { isPlaying, isByItself });
    const button = this.find("play");
    button.textContent = isPlaying ? "❚❚" : "▶";
    button.setAttribute("aria-label", isPlaying ? "Pause the episode" : "Play the episode");
    if (isPlaying && !this.frame) { this.before = null; this.frame = requestAnimationFrame(now => this.tick(now)); }
  }

  // What a person has begun, scrubbed or stopped is theirs.
  playByItself(isPlaying) {
    const isTheirs = isPlaying ? this.isPlaying || this.at > 0 : !this.isByItself;
    if (isTheirs || matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    this.play(isPlaying, isPlaying);
    if (!isPlaying) this.at = 0;
  }

  tick(now) {
    this.frame = null;
    if (!this.root.isConnected && !this.root.host?.isConnected) return;
    if (!this.isPlaying) return;
    const speed = +this.find("speed").value;
    if (this.before !== null) this.at += Math.min(now - this.before, 100) / 1000 / this.task.dt * speed;
    this.before = now;
    const last = this.episode.states.length - 1;
    if (this.at >= last) { this.at = last; this.play(false); }
    if (this.isPlaying) this.draw(); else this.paint();
    if (this.isPlaying) this.frame = requestAnimationFrame(next => this.tick(next));
  }

  // Run through the checkpoints: the learning once more, in a few seconds.
  replay() {
    clearInterval(this.timer);
    this.look(0);
    const step = () => {
      if (this.checkpoint >= this.policies.length - 1 || !this.root.isConnected && !this.root.host?.isConnected)
        return clearInterval(this.timer);
      this.look(this.checkpoint + 1);
    };
    this.timer = setInterval(step, Math.max(60, 4000 / this.policies.length));
  }

  paint() {
    if (!this.policies) return;
    const style = getComputedStyle(this.root.host ?? this.root);
    const read = (name, fallback) => style.getPropertyValue(name).trim() || fallback;
    this.ink = { text: read("--st-text-color", "#222"), line: read("--st-border-color", "#bbb"), pole: "#E69F00",
      back: read("--st-background-color", "#fff") };
    this.describe();
    this.draw();
  }

  // For those who do not see it; at rest only, since a browser that is told sixty times a second gets nothing else done.
  describe() {
    const { states, actions, returns } = this.episode, step = Math.floor(this.at), { map } = this.task, [first, last] = this.ends;
    const doing = actions[Math.min(step, actions.length - 1)], isChange = this.find("view").value === "change";
    this.find("stage").setAttribute("aria-label",
      `The agent at step ${step} of ${states.length - 1}, return ${returns.at(-1).toFixed(0)}; action ${this.actions[doing]?.[0] ?? doing.toFixed(2)}.`);
    this.find("map").setAttribute("aria-label",
      `Policy map over ${map.x[1]} and ${map.y[1]}: blue where it chooses ${first}, orange where ${last}.`);
    this.find("legend").textContent = isChange ? "what learning changed since the first checkpoint" : `blue: ${first} · orange: ${last} · dots: states visited`;
  }

  // One frame.
  draw() {
    this.paintStage();
    this.paintMap();
    this.find("time").value = this.at;
  }

  paintStage() {
    const [pen, w, h] = canvas(this.find("stage")), { states, returns, isOver } = this.episode;
    const step = Math.floor(this.at), part = this.at - step;
    const here = between => (states, t) => {
      const a = states[Math.min(t, states.length - 1)], b = states[Math.min(t + 1, states.length - 1)];
      return a.map((x, i) => x + (Math.abs(b[i] - x) > Math.PI ? 0 : (b[i] - x) * between));
    };
    pen.clearRect(0, 0, w, h);
    if (this.ghost) {
      pen.globalAlpha = 0.22;
      this.task.draw(pen, here(part)(this.ghost.states, step), w, h, this.ink, "#8C8C8C");
      pen.globalAlpha = 1;
    }
    this.task.draw(pen, here(part)(states, step), w, h, this.ink, "#0072B2");
    pen.fillStyle = this.ink.text; pen.font = "13px sans-serif"; pen.textAlign = "left";
    const ended = step >= states.length - 1;
    pen.fillText(`step ${step} of ${states.length - 1}` + (ended ? isOver ? " · over" : " · time limit" : ""), 8, 18);
    pen.textAlign = "right";
    pen.fillText(`return so far ${returns[step].toFixed(0)}`, w - 8, 18);
    this.paintChances(pen, w, h, states[Math.min(step, states.length - 1)]);
  }

  paintChances(pen, w, h, state) {
    const seen = this.task.observe(state), y = h - 16;
    if (this.policy.kind === "gaussian") {
      const torque = lean(this.task, this.policy, state);
      pen.fillStyle = torque < 0 ? "#0072B2" : "#E69F00";
      pen.fillRect(w / 2, y, torque * w * 0.4, 8);
      pen.fillStyle = this.ink.text; pen.textAlign = "center"; pen.fillText("torque", w / 2, y - 4);
      return;
    }
    const p = probabilities(this.policy, seen);
    let x = 8;
    p.forEach((chance, i) => {
      const width = (w - 16) * chance, [name, colour] = this.actions[i];
      pen.fillStyle = colour; pen.fillRect(x, y, width, 9);
      pen.fillStyle = this.ink.text; pen.textAlign = i === 0 ? "left" : i === p.length - 1 ? "right" : "center";
      const anchor = i === 0 ? 8 : i === p.length - 1 ? w - 8 : w / 2;
      pen.fillText(`${name} ${(100 * chance).toFixed(0)} %`, anchor, y - 4);
      x += width;
    });
  }

  // The state whose two shown components are 0 and whose others are as the sliders say.
  cut() {
    const state = this.episode.states[0].map(() => 0);
    for (const input of this.find("fixed").querySelectorAll("input")) state[input.dataset.index] = +input.value;
    return state;
  }

  // What the policy would do where the pointer is, in words.
  read(x, y) {
    if (!this.policies) return;
    const [left, top, wide, high] = inside(...sizes.get(this.find("map"))), state = this.cut(), shown = [];
    for (const [[index, name, low, most, unit], part] of [[this.task.map.x, (x - left) / wide], [this.task.map.y, 1 - (y - top) / high]]) {
      if (part < 0 || part > 1) return this.describe();
      const value = low + (most - low) * part;
      state[index] = value * unit;
      shown.push(`${name.replace(/ \(.*/, "")} ${value.toFixed(2)}`);
    }
    const [seen, { torque }] = [this.task.observe(state), this.task];
    const does = this.policy.kind === "gaussian" ? `torque ${(lean(this.task, this.policy, state) * torque).toFixed(2)}`
      : probabilities(this.policy, seen).map((chance, i) => `${this.actions[i][0]} ${(100 * chance).toFixed(0)} %`).join(", ");
    this.find("legend").textContent = `${shown.join(", ")}: ${does}`;
  }

  save(name) {
    const shown = this.find(name), picture = Object.assign(document.createElement("canvas"), { width: shown.width, height: shown.height });
    const pen = picture.getContext("2d");
    pen.fillStyle = this.ink.back;
    pen.fillRect(0, 0, picture.width, picture.height);
    pen.drawImage(shown, 0, 0);
    const link = document.createElement("a");
    Object.assign(link, { href: picture.toDataURL(), download: `${name}-${this.identity}-update-${this.policy.update}.png` }).click();
  }

  // A pixel for each cell of the map, worked out anew only when what it shows has changed.
  mapColours() {
    const isChange = this.find("view").value === "change";
    const shows = [this.checkpoint, isChange, ...this.cut()].join();
    if (this.colours?.shows === shows) return this.colours;
    const [xi, , x0, x1, xUnit] = this.task.map.x, [yi, , y0, y1, yUnit] = this.task.map.y;
    const cells = 48, state = this.cut(), colours = document.createElement("canvas");
    colours.width = colours.height = cells;
    const pen = colours.getContext("2d"), pixels = pen.createImageData(cells, cells);
    for (let i = 0; i < cells; i++)
      for (let j = 0; j < cells; j++) {
        state[xi] = (x0 + (x1 - x0) * (i + 0.5) / cells) * xUnit;
        state[yi] = (y0 + (y1 - y0) * (j + 0.5) / cells) * yUnit;
        const now = lean(this.task, this.policy, state);
        const shown = isChange ? (now - lean(this.task, this.policies[0], state)) / 2 : now;
        pixels.data.set([...diverging(shown), 255], 4 * ((cells - 1 - j) * cells + i));
      }
    pen.putImageData(pixels, 0, 0);
    return this.colours = Object.assign(colours, { shows });
  }

  paintMap() {
    const [pen, w, h] = canvas(this.find("map")), { map } = this.task;
    const [xi, xName, x0, x1, xUnit] = map.x, [yi, yName, y0, y1, yUnit] = map.y;
    const [left, , wide, high] = inside(w, h);
    pen.clearRect(0, 0, w, h);
    pen.drawImage(this.mapColours(), left, 8, wide, high);
    const px = s => left + (wrapIf(s[xi], xName) / xUnit - x0) / (x1 - x0) * wide;
    const py = s => 8 + high - (s[yi] / yUnit - y0) / (y1 - y0) * high;
    pen.save(); pen.beginPath(); pen.rect(left, 8, wide, high); pen.clip();
    pen.fillStyle = "rgba(0,0,0,0.45)";
    for (const s of this.episode.states) pen.fillRect(px(s) - 1.2, py(s) - 1.2, 2.4, 2.4);
    const now = this.episode.states[Math.min(Math.floor(this.at), this.episode.states.length - 1)];
    pen.fillStyle = "#fff"; pen.strokeStyle = "#000"; pen.lineWidth = 2;
    pen.beginPath(); pen.arc(px(now), py(now), 5, 0, 7); pen.fill(); pen.stroke();
    pen.restore();
    pen.fillStyle = this.ink.text; pen.font = "12px sans-serif"; pen.textAlign = "center";
    pen.fillText(xName, left + wide / 2, h - 4);
    for (const [value, at] of [[x0, left], [(x0 + x1) / 2, left + wide / 2], [x1, left + wide]]) pen.fillText(tidy(value), at, h - 18);
    pen.textAlign = "right";
    for (const [value, at] of [[y1, 18], [(y0 + y1) / 2, 8 + high / 2 + 4], [y0, 8 + high]]) pen.fillText(tidy(value), left - 5, at);
    pen.save(); pen.translate(11, 8 + high / 2); pen.rotate(-Math.PI / 2); pen.textAlign = "center"; pen.fillText(yName, 0, 0); pen.restore();
  }
}

// Where the map lies on its canvas: left, top, width, height.
const inside = (w, h) => [44, 8, w - 64, h - 42];

const wrapIf = (value, name) => (name.includes("angle (°)") ? wrap(value) : value);
const tidy = value => (Math.abs(value) < 1 && value ? value.toFixed(2) : value.toFixed(value % 1 ? 1 : 0));

const sizes = new WeakMap();

function measure(node) {
  const box = node.getBoundingClientRect(), size = [Math.max(box.width, 10), Math.max(box.height, 10)];
  sizes.set(node, size);
  return size;
}

function canvas(node) {
  const ratio = devicePixelRatio || 1, [w, h] = sizes.get(node) ?? measure(node);
  if (node.width !== Math.round(w * ratio) || node.height !== Math.round(h * ratio)) {
    node.width = Math.round(w * ratio); node.height = Math.round(h * ratio);
  }
  const pen = node.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  return [pen, w, h];
}

// −1 blue, 0 white, 1 orange: told apart by colour-blind eyes too.
function diverging(value) {
  const t = clip(Math.abs(value), 0, 1), end = value < 0 ? [0, 114, 178] : [230, 159, 0];
  return end.map(c => Math.round(245 + (c - 245) * t));
}

export { TASKS, choose, decode, outputs, probabilities };

export default function ({ data, parentElement }) {
  let stage = stages.get(parentElement);
  if (!stage) stages.set(parentElement, stage = new Stage(parentElement));
  stage.show(data);
  return () => { stage.play(false); clearInterval(stage.timer); };
}
