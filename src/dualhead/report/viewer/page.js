
"use strict";
(() => {
  // --- content ---------------------------------------------------------------------------------

  const UNSEEN = -32768, SHARE = 65535, RATE = 30, INERT = 0.02, LISTED = 200, CLASSES = 6, RANKS = 12;
  const HEADS = ["fusion", "coarse", "fine"];
  const page = JSON.parse(document.getElementById("content").textContent);
  const find = (id) => document.getElementById(id);

  function unpacked(text, Kind) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    return new Kind(bytes.buffer); // pages are little-endian, as every machine with a browser is
  }

  const labels = unpacked(page.labels, Int16Array);
  const networks = page.networks.map((one) => ({
    title: one.title, accuracy: one.accuracy, known: one.best !== "",
    best: unpacked(one.best, Uint16Array), shares: unpacked(one.shares, Uint16Array), right: unpacked(one.right, Uint8Array),
  }));
  const recordingOf = new Map(page.recordings.map((one, index) => [one.name, index]));
  const samples = page.names.map((name, index) => ({ name, index, label: labels[index], recording: recordingOf.get(name) ?? -1 }));
  const className = (index) => page.classes[index] ?? `class ${index + 1}`;
  const labelled = samples.some((one) => one.label >= 0);

  // --- small helpers ---------------------------------------------------------------------------

  function el(tag, options = {}, ...children) {
    const made = document.createElement(tag);
    for (const [key, value] of Object.entries(options)) {
      if (key === "on") for (const [event, act] of Object.entries(value)) made.addEventListener(event, act);
      else if (key in made && key !== "list") made[key] = value;
      else made.setAttribute(key, value);
    }
    made.append(...children.filter((child) => child !== null));
    return made;
  }

  function svg(tag, attributes, ...children) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const networkColor = (index) => color(`network-${index % 4}`);
  const digits = (value, places = 2) => value.toFixed(places);
  const swatch = (fill, kind = "i") => { const made = el(kind); made.style.background = fill; return made; };

  function pens(canvas, height) {
    const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth || canvas.parentElement.clientWidth || 600;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round((height ?? canvas.clientHeight) * ratio);
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    return { pen, width, height: height ?? canvas.clientHeight };
  }

  // Of two inks the one that stands out more on a color, laid over another with some share.
  function inkOn(ground, over, share) {
    const numbers = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
    const light = (values) => values.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
      .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const below = numbers(ground), above = numbers(over), own = light(below.map((v, i) => v + share * (above[i] - v)));
    return (own + 0.05) ** 2 > 0.05 * 1.05 ? "#000000" : "#ffffff";
  }

  // Viridis-like, dark to light in light themes and the other way round in dark ones: more is what stands out.
  const RAMP = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
  function ramp(share) {
    const dark = document.documentElement.dataset.theme === "dark";
    const place = Math.min(Math.max(dark ? share : 1 - share, 0), 1) * (RAMP.length - 1);
    const low = Math.min(Math.floor(place), RAMP.length - 2), part = place - low;
    return `rgb(${RAMP[low].map((value, i) => Math.round(value + part * (RAMP[low + 1][i] - value))).join(" ")})`;
  }

  // --- state -----------------------------------------------------------------------------------

  const START = { yaw: flat() ? 0 : -0.42, pitch: flat() ? 0 : 0.16, zoom: 1 };
  const state = {
    sample: samples[0] ?? null, frame: 0, playing: false, speed: 1, ...START, names: false,
    network: 0, attended: null, map: "mean", matrix: 0, cell: null, listed: LISTED, cursor: [0, 0],
  };
  let shown = null; // the recording whose skeletons are drawn

  function flat() { return page.layout.flat; }

  function decoded(index) {
    const one = page.recordings[index];
    if (!one.places) one.places = unpacked(one.joints, Int16Array);
    return one;
  }

  const cache = new Map();
  function shares(text) {
    if (!cache.has(text)) cache.set(text, Float32Array.from(unpacked(text, Uint16Array), (value) => value / SHARE));
    return cache.get(text);
  }

  // --- skeleton --------------------------------------------------------------------------------

  const stage = find("stage");

  function extent(one) {
    if (one.extent) return one.extent;
    let reach = 0, lowest = Infinity;
    for (let i = 0; i < one.places.length; i += 3) {
      if (one.places[i] === UNSEEN) continue;
      reach = Math.max(reach, Math.hypot(one.places[i], one.places[i + 1], one.places[i + 2]));
      lowest = Math.min(lowest, one.places[i + 1]);
    }
    one.extent = { reach: reach || 1, lowest: Number.isFinite(lowest) ? lowest : 0 };
    return one.extent;
  }

  function camera(one, width, height, yaw, pitch, zoom) {
    const { reach } = extent(one), far = 4.2 * reach;
    const scale = (Math.min(width, height) * 0.48 * zoom) / reach;
    const [sinYaw, cosYaw, sinPitch, cosPitch] = [Math.sin(yaw), Math.cos(yaw), Math.sin(pitch), Math.cos(pitch)];
    return (x, y, z) => {
      const across = x * cosYaw + z * sinYaw, depth = z * cosYaw - x * sinYaw;
      const up = y * cosPitch - depth * sinPitch, near = y * sinPitch + depth * cosPitch;
      const share = flat() ? 1 : far / (far - near);
      return [width / 2 + across * scale * share, height / 2 - up * scale * share, near];
    };
  }

  function drawFloor(pen, place, one) {
    const { reach, lowest } = extent(one), edge = reach * 0.9, steps = 6;
    pen.strokeStyle = color("floor");
    pen.lineWidth = 1;
    pen.beginPath();
    for (let i = -steps; i <= steps; i++) {
      const at = (edge * i) / steps;
      for (const [a, b] of [[[at, -edge], [at, edge]], [[-edge, at], [edge, at]]]) {
        const [x0, y0] = place(a[0], lowest, a[1]), [x1, y1] = place(b[0], lowest, b[1]);
        pen.moveTo(x0, y0);
        pen.lineTo(x1, y1);
      }
    }
    pen.stroke();
  }

  // Rank of each joint by spatial attention, 0 for the least; null where none is shown.
  function attentionHere() {
    const maps = shown?.seen[state.network]?.attention?.joints;
    if (!maps || state.map === "off" || !Object.keys(maps).length) return null;
    const chosen = state.map in maps ? [maps[state.map]] : Object.values(maps);
    const bodies = Array.from({ length: shown.bodies }, (_, body) => body).filter((body) => isThere(body));
    const values = chosen[0].map((row, body) => row.map((_, joint) => chosen.reduce((sum, map) => sum + map[body][joint], 0) / chosen.length));
    const all = bodies.flatMap((body) => values[body].map((value, joint) => ({ body, joint, value })));
    all.sort((a, b) => a.value - b.value);
    const ranks = new Map(all.map(({ body, joint }, rank) => [`${body} ${joint}`, rank]));
    return { all, ranks, count: all.length, low: all[0]?.value ?? 0, high: all.at(-1)?.value ?? 0 };
  }

  function isThere(body) {
    const joints = page.layout.joints.length, size = joints * 3, { places, bodies } = shown;
    if (body >= bodies) return false;
    for (let frame = 0; frame < shown.frames; frame++)
      for (let joint = 0; joint < joints; joint++) if (places[(frame * bodies + body) * size + joint * 3] !== UNSEEN) return true;
    return false;
  }

  function drawPose(pen, one, frame, place, { thick = 3, names = false, attention = null } = {}) {
    const joints = page.layout.joints.length;
    for (let body = one.bodies - 1; body >= 0; body--) {
      const at = (joint) => ((frame * one.bodies + body) * joints + joint) * 3;
      const points = page.layout.joints.map((_, joint) => {
        const i = at(joint);
        return one.places[i] === UNSEEN ? null : place(one.places[i], one.places[i + 1], one.places[i + 2]);
      });
      const tint = (joint) => body > 0 ? color("bone-other") : color({ "-1": "bone-left", 0: "bone", 1: "bone-right" }[page.layout.sides[joint]]);
      const bones = page.layout.edges.filter(([a, b]) => points[a] && points[b])
        .map(([a, b]) => ({ a, b, near: points[a][2] + points[b][2], side: page.layout.sides[a] ? a : b }));
      bones.sort((a, b) => a.near - b.near);
      pen.lineCap = "round";
      pen.lineWidth = thick;
      for (const { a, b, side } of bones) {
        pen.strokeStyle = tint(side);
        pen.beginPath();
        pen.moveTo(points[a][0], points[a][1]);
        pen.lineTo(points[b][0], points[b][1]);
        pen.stroke();
      }
      points.forEach((point, joint) => {
        if (!point) return;
        const rank = attention?.ranks.get(`${body} ${joint}`), share = rank === undefined ? null : rank / Math.max(attention.count - 1, 1);
        pen.beginPath();
        pen.arc(point[0], point[1], share === null ? thick * 0.85 : thick * (0.9 + 1.6 * share), 0, 2 * Math.PI);
        pen.fillStyle = share === null ? tint(joint) : ramp(share);
        pen.fill();
        if (share !== null) { pen.strokeStyle = color("mark"); pen.lineWidth = 1; pen.stroke(); }
      });
      if (names && body === 0) drawNames(pen, points);
    }
  }

  function drawNames(pen, points) {
    pen.font = "12px system-ui, sans-serif";
    pen.fillStyle = color("ink");
    pen.strokeStyle = color("ground");
    pen.lineWidth = 3;
    points.forEach((point, joint) => {
      if (!point) return;
      pen.strokeText(page.layout.joints[joint], point[0] + 7, point[1] + 4);
      pen.fillText(page.layout.joints[joint], point[0] + 7, point[1] + 4);
    });
  }

  function drawStage() {
    const { pen, width, height } = pens(stage);
    pen.clearRect(0, 0, width, height);
    if (!shown) return;
    const place = camera(shown, width, height, state.yaw, state.pitch, state.zoom);
    if (!flat()) drawFloor(pen, place, shown);
    const thick = Math.max(2.5, Math.min(width, height) / 110);
    drawPose(pen, shown, state.frame, place, { thick, names: state.names, attention: attentionHere() });
  }

  // Poses evenly over time, for paper.
  function drawStrip() {
    const canvas = find("strip");
    if (!shown) { canvas.width = 0; return; }
    const count = Math.min(8, shown.frames), [width, height] = [1600, 420];
    Object.assign(canvas, { width, height });
    const pen = canvas.getContext("2d");
    for (let i = 0; i < count; i++) {
      const frame = count === 1 ? 0 : Math.round((i * (shown.frames - 1)) / (count - 1));
      const place = camera(shown, width / count, height - 40, state.yaw, state.pitch, 1.25);
      pen.setTransform(1, 0, 0, 1, (i * width) / count, 0);
      drawPose(pen, shown, frame, place, { thick: 4, attention: attentionHere() });
      pen.fillStyle = "#222";
      pen.font = "22px sans-serif";
      pen.textAlign = "center";
      pen.fillText(`frame ${frame}`, width / count / 2, height - 8);
    }
    pen.setTransform(1, 0, 0, 1, 0, 0);
  }

  // --- time ------------------------------------------------------------------------------------

  let last = 0, owed = 0;

  function tick(now) {
    if (!state.playing) return;
    owed += ((now - last) / 1000) * RATE * state.speed;
    last = now;
    const steps = Math.floor(owed);
    owed -= steps;
    if (steps) seek((state.frame + steps) % shown.frames);
    requestAnimationFrame(tick);
  }

  function play(playing) {
    state.playing = playing && shown !== null && shown.frames > 1;
    find("play").textContent = state.playing ? "❚❚ Pause" : "▶ Play";
    if (state.playing) { last = performance.now(); owed = 0; requestAnimationFrame(tick); }
  }

  function seek(frame) {
    state.frame = frame;
    find("scrubber").value = frame;
    find("scrubber").setAttribute("aria-valuetext", `frame ${frame} of ${shown.frames}`);
    find("frame-text").textContent = `frame ${frame} of ${shown.frames} · ${digits(frame / RATE)} s`;
    drawStage();
    moveCursor();
  }

  // --- recordings ------------------------------------------------------------------------------

  function matches(sample) {
    const words = find("search").value.trim().toLowerCase();
    const text = `${sample.name} ${sample.label >= 0 ? className(sample.label) : ""}`.toLowerCase();
    if (words && !text.includes(words)) return false;
    if (find("class-filter").value !== "" && sample.label !== Number(find("class-filter").value)) return false;
    if (find("shown-filter").checked && sample.recording < 0) return false;
    if (state.cell) {
      const { row, column, network } = state.cell;
      if (sample.label !== row || networks[network].best[sample.index] !== column) return false;
    }
    return fitsVerdict(sample, find("verdict-filter").value);
  }

  function fitsVerdict(sample, verdict) {
    if (!verdict) return true;
    if (sample.label < 0) return false;
    const right = networks.filter((one) => one.known).map((one) => one.right[sample.index] === 1);
    if (verdict === "differ") return right.some((one) => one !== right[0]);
    const [kind, index] = verdict.split(" ");
    return right[Number(index)] === (kind === "right");
  }

  let listed = [];
  function list() {
    listed = samples.filter(matches);
    listed.sort((a, b) => (b.recording >= 0) - (a.recording >= 0) || a.index - b.index);
    find("count").textContent = listed.length === samples.length ? `${samples.length}` : `${listed.length} of ${samples.length}`;
    find("rows").replaceChildren(...listed.slice(0, state.listed).map(row));
    const more = listed.length - state.listed;
    find("more").hidden = more <= 0;
    find("more").textContent = `Show ${Math.min(more, LISTED)} more of ${more}`;
    if (!listed.length) find("rows").append(el("li", { className: "quiet" }, "No recording fits these filters."));
  }

  function row(sample) {
    const marks = el("span", { className: "row-marks" });
    if (sample.label >= 0)
      networks.filter((one) => one.known).forEach((one) => {
        const right = one.right[sample.index] === 1;
        const said = `${one.title}: ${right ? "right" : `wrong, ${className(one.best[sample.index])}`}`;
        marks.append(el("span", { className: right ? "is-right" : "is-wrong", title: said, role: "img", "aria-label": said }, right ? "✓" : "✗"));
      });
    return el("li", {}, el("button", {
      type: "button", className: sample.recording < 0 ? "bare" : "", "aria-current": String(sample === state.sample),
      on: { click: () => choose(sample) },
    },
    el("span", { className: "row-name" }, sample.name),
    el("span", { className: "row-class" }, subject(sample)), marks));
  }

  // The class of a recording, or what the first network takes it for.
  function subject(sample) {
    const guess = networks.find((one) => one.known);
    return sample.label >= 0 ? className(sample.label) : guess ? `→ ${className(guess.best[sample.index])}` : "";
  }

  function fillFilters() {
    const present = [...new Set(samples.map((one) => one.label))].filter((label) => label >= 0).sort((a, b) => a - b);
    find("class-filter").append(el("option", { value: "" }, "All classes"), ...present.map((label) => el("option", { value: String(label) }, className(label))));
    const known = networks.filter((one) => one.known);
    const verdicts = known.flatMap((one, index) => ["right", "wrong"].map((kind) => [`${kind} ${index}`, known.length > 1 ? `${one.title}: ${kind}` : kind]));
    if (known.length > 1) verdicts.unshift(["differ", "networks differ"]);
    find("verdict-filter").append(el("option", { value: "" }, "All results"), ...verdicts.map(([value, text]) => el("option", { value }, text)));
    find("class-filter").hidden = !present.length;
    find("verdict-filter").hidden = !labelled || !known.length;
    find("shown-label").hidden = samples.every((one) => one.recording >= 0);
  }

  function choose(sample) {
    state.sample = sample;
    shown = sample && sample.recording >= 0 ? decoded(sample.recording) : null;
    find("name").textContent = sample ? sample.name : "No recording";
    find("label").textContent = sample && sample.label >= 0 ? className(sample.label) : "";
    const note = find("stage-note");
    note.hidden = shown !== null;
    note.textContent = sample ? `The skeletons of this recording are not in this page. ${page.command}` : "";
    for (const id of ["play", "back", "ahead", "scrubber"]) find(id).disabled = !shown;
    find("scrubber").max = shown ? shown.frames - 1 : 0;
    stage.setAttribute("aria-label", sample ? `Skeleton of ${sample.name}${sample.label >= 0 ? `, ${className(sample.label)}` : ""}` : "No skeleton");
    for (const button of find("rows").querySelectorAll("button")) button.setAttribute("aria-current", "false");
    const at = listed.indexOf(sample);
    find("rows").children[at]?.firstChild.setAttribute?.("aria-current", "true");
    drawAttention();
    drawScores();
    if (shown) seek(0);
    else { find("frame-text").textContent = ""; drawStage(); }
    play(state.playing);
  }

  function step(by) {
    const at = listed.indexOf(state.sample), next = listed[Math.min(Math.max(at + by, 0), listed.length - 1)];
    if (!next) return;
    choose(next);
    find("rows").children[listed.indexOf(next)]?.scrollIntoView({ block: "nearest" });
  }

  // --- scores ----------------------------------------------------------------------------------

  function drawScores() {
    const sample = state.sample;
    find("verdicts").replaceChildren(...(sample ? networks.map((one, index) => verdict(one, index, sample)).filter(Boolean) : []));
    find("bars").replaceChildren(...(shown && shown.seen.length ? bars() : []));
    find("over-time").replaceChildren(...(shown ? overTime() : []));
  }

  function verdict(network, index, sample) {
    if (!network.known) return null;
    const best = network.best[sample.index], right = network.right[sample.index] === 1;
    const mark = sample.label < 0 ? null : el("span", { className: right ? "is-right" : "is-wrong" }, right ? "✓ right" : "✗ wrong");
    return el("div", { className: "verdict" }, swatch(networkColor(index)),
      el("span", {}, className(best)), el("b", {}, digits(network.shares[sample.index] / SHARE)),
      el("span", { className: "quiet" }, network.title), mark ?? el("span"));
  }

  // The true class first, then those that any network thinks likeliest.
  function chosenClasses() {
    const fused = shown.seen.map((one) => shares(one.heads.fusion)), count = fused[0].length;
    const most = Array.from({ length: count }, (_, k) => Math.max(...fused.map((values) => values[k])));
    const order = most.map((_, k) => k).sort((a, b) => most[b] - most[a]);
    const own = state.sample.label;
    return (own >= 0 ? [own, ...order.filter((k) => k !== own)] : order).slice(0, Math.min(CLASSES, count));
  }

  function bars() {
    const two = shown.seen.some((one) => "coarse" in one.heads);
    const found = chosenClasses().map((k) => el("div", { className: "bar-class" },
      el("h3", {}, className(k), k === state.sample.label ? el("span", { className: "tag" }, " true class") : null),
      ...shown.seen.map((one, index) => bar(one, index, k))));
    const key = el("p", { className: "bar-key" }, ...networks.map((one, index) => {
      const mark = swatch(networkColor(index));
      mark.className = "swatch";
      return el("span", {}, mark, one.title);
    }));
    if (two) key.append(el("span", {}, el("i", { className: "coarse" }), "coarse head"), el("span", {}, el("i", { className: "fine" }), "fine head"));
    return [...found, key];
  }

  function bar(seen, index, k) {
    const values = Object.fromEntries(HEADS.filter((head) => head in seen.heads).map((head) => [head, shares(seen.heads[head])[k]]));
    const fill = swatch(networkColor(index), "span");
    fill.style.width = `${100 * values.fusion}%`;
    const track = el("div", { className: "track" }, fill);
    for (const head of ["coarse", "fine"]) {
      if (!(head in values)) continue;
      const mark = el("em", { className: head });
      mark.style.left = `${100 * values[head]}%`;
      track.append(mark);
    }
    const said = Object.entries(values).map(([head, value]) => `${head} ${digits(value)}`).join(", ");
    return el("div", { className: "bar", title: `${networks[index].title}: ${said}` }, track, el("b", {}, digits(values.fusion)),
      el("span", { className: "unseen" }, `${networks[index].title}: ${said}`));
  }

  // --- windows ---------------------------------------------------------------------------------

  const LINE = { width: 360, height: 150, left: 26, right: 4, top: 6, bottom: 20 };
  const DASHES = ["", "6 3", "2 3", "8 3 2 3", "1 4"];

  function overTime() {
    const index = shown.seen.findIndex((one) => one.windows);
    if (index < 0) return [];
    const parts = [];
    shown.seen.forEach((one, network) => {
      if (one.windows) parts.push(...lines(one.windows, network));
    });
    return parts;
  }

  function lines({ bounds, values }, network) {
    const table = shares(values), count = table.length / bounds.length;
    const value = (window, k) => table[window * count + k];
    const mean = Array.from({ length: count }, (_, k) => bounds.reduce((sum, _, window) => sum + value(window, k), 0) / bounds.length);
    const best = mean.map((_, k) => k).sort((a, b) => mean[b] - mean[a]).slice(0, 5);
    const { width, height, left, right, top, bottom } = LINE, lastFrame = Math.max(shown.whole - 1, 1);
    const x = (frame) => left + (frame / lastFrame) * (width - left - right), y = (share) => top + (1 - share) * (height - top - bottom);
    const middle = ([first, end]) => (first + end) / 2;
    const chart = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", preserveAspectRatio: "none",
      "aria-label": `Probability of the five likeliest classes over ${bounds.length} windows` });
    for (const share of [0, 0.5, 1]) {
      chart.append(svg("line", { x1: left, x2: width - right, y1: y(share), y2: y(share), stroke: color("line") }));
      const text = svg("text", { x: left - 5, y: y(share) + 4, "text-anchor": "end" });
      text.textContent = String(share);
      chart.append(text);
    }
    best.forEach((k, order) => {
      const path = bounds.map((bound, window) => `${window ? "L" : "M"}${x(middle(bound))} ${y(value(window, k))}`).join("");
      const ink = lineColor(order);
      chart.append(svg("path", { d: path, fill: "none", stroke: ink, "stroke-width": 2.2, "stroke-dasharray": DASHES[order], "stroke-linejoin": "round" }));
      if (bounds.length === 1) chart.append(svg("circle", { cx: x(middle(bounds[0])), cy: y(value(0, k)), r: 3.5, fill: ink }));
    });
    chart.append(svg("line", { class: "cursor", y1: top, y2: height - bottom, stroke: color("ink"), "stroke-width": 1.2, "data-last": lastFrame }));
    chart.addEventListener("click", (event) => {
      const box = chart.getBoundingClientRect(), at = ((event.clientX - box.left) / box.width) * width;
      seek(Math.min(Math.max(Math.round(((at - left) / (width - left - right)) * lastFrame), 0), shown.frames - 1));
    });
    const key = el("ul", { className: "line-key" }, ...best.map((k, order) => el("li", {},
      svg("svg", { viewBox: "0 0 26 10", "aria-hidden": "true" }, svg("line", { x1: 0, x2: 26, y1: 5, y2: 5, stroke: lineColor(order), "stroke-width": 2.5, "stroke-dasharray": DASHES[order] })),
      className(k))));
    return [el("h3", {}, networks.length > 1 ? `Over time: ${networks[network].title}` : "Over time"), chart, key, windowTable(bounds, value, count)];
  }

  const lineColor = (order) => [color("network-0"), color("network-1"), color("network-2"), color("network-3"), color("quiet")][order];

  function windowTable(bounds, value, count) {
    const all = Array.from({ length: count }, (_, k) => k);
    const body = el("tbody", {}, ...bounds.map(([first, end], window) => {
      const best = [...all].sort((a, b) => value(window, b) - value(window, a)).slice(0, 5);
      return el("tr", { "data-first": String(first), "data-end": String(end) },
        el("th", { scope: "row" }, el("button", { type: "button", disabled: first >= shown.frames, on: { click: () => seek(first) } }, `${first}–${end}`)),
        el("td", {}, best.map((k) => `${className(k)} ${digits(value(window, k))}`).join("; ")));
    }));
    const head = el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "frames"), el("th", { scope: "col" }, "five likeliest")));
    return el("details", {}, el("summary", {}, `${bounds.length} ${bounds.length === 1 ? "window" : "windows"}, five likeliest classes of each`),
      el("div", { className: "window-rows" }, el("table", {}, head, body)));
  }

  function moveCursor() {
    const { width, left, right } = LINE;
    for (const cursor of document.querySelectorAll(".cursor")) {
      const at = left + (state.frame / Number(cursor.dataset.last)) * (width - left - right);
      cursor.setAttribute("x1", at);
      cursor.setAttribute("x2", at);
    }
    for (const one of document.querySelectorAll(".window-rows tr[data-first]")) {
      const inside = Number(one.dataset.first) <= state.frame && state.frame <= Number(one.dataset.end);
      if (inside) one.setAttribute("aria-current", "true");
      else one.removeAttribute("aria-current");
    }
  }

  // --- attention -------------------------------------------------------------------------------

  const BLOCKS = { joints_1: "first block", joints_2: "second block", mean: "mean of both blocks", off: "off" };

  function sayRange(kind, low, high, things) {
    const text = `${kind} attention lies between ${digits(low, 3)} and ${digits(high, 3)} here`;
    if (high - low >= INERT) return `${text}.`;
    return `${text}: it is inert, as it scales the features of different ${things} by factors that differ by ${digits(100 * (high - low), 1)} % at most. Its ranks tell nothing.`;
  }

  function drawAttention() {
    const having = shown ? shown.seen.map((one, index) => (one.attention ? index : -1)).filter((index) => index >= 0) : [];
    find("bands").replaceChildren();
    find("attention").replaceChildren();
    drawLegend(false);
    if (!having.length) return;
    if (!having.includes(state.network)) state.network = having[0];
    const { joints, frames } = shown.seen[state.network].attention;
    const bands = Object.entries(frames).map(([name, one]) => band(name, one));
    find("bands").replaceChildren(...bands.map(({ element }) => element));
    for (const { draw } of bands) draw(); // once it is in the page and has a width
    const head = el("h3", {}, "Attention");
    if (having.length > 1) head.append(picker("Network of the attention", having.map((index) => [index, networks[index].title]), state.network, (value) => { state.network = Number(value); drawAttention(); drawStage(); }));
    const maps = Object.keys(joints);
    if (maps.length) {
      if (state.map !== "off" && !(state.map in joints)) state.map = maps.length > 1 ? "mean" : maps[0];
      const choices = [...maps, ...(maps.length > 1 ? ["mean"] : []), "off"].map((name) => [name, BLOCKS[name] ?? name]);
      head.append(picker("Attention shown on the joints", choices, state.map, (value) => { state.map = value; drawAttention(); drawStage(); }));
    }
    find("attention").append(head, ...ranking());
    drawLegend(state.map !== "off" && maps.length > 0);
  }

  function picker(label, choices, chosen, act) {
    return el("select", { "aria-label": label, on: { change: (event) => act(event.target.value) } },
      ...choices.map(([value, text]) => el("option", { value: String(value), selected: String(value) === String(chosen) }, text)));
  }

  function ranking() {
    const found = attentionHere();
    if (!found || !found.count) return [];
    const said = el("p", { className: "say" }, `${sayRange("Spatial", found.low, found.high, "joints")} Joints are colored and sized by rank.`);
    const best = [...found.all].reverse().slice(0, RANKS);
    const several = new Set(found.all.map(({ body }) => body)).size > 1;
    return [said, el("ol", { className: "ranks", "aria-label": "Joints by rank" }, ...best.map(({ body, joint, value }, order) => el("li", {},
      el("span", { className: "quiet" }, String(order + 1)), swatch(ramp(1 - order / Math.max(found.count - 1, 1))),
      el("span", {}, page.layout.joints[joint] + (several ? ` (body ${body + 1})` : "")), el("span", {}, digits(value, 3)))))];
  }

  function band(name, { at, values }) {
    const row = values.find((_, body) => isThere(body)) ?? values[0], sorted = [...row].sort((a, b) => a - b);
    const [low, high] = [sorted[0], sorted.at(-1)];
    const canvas = el("canvas", { role: "img", "aria-label": `Temporal attention over the frames, ${name === "frames_1" ? "coarse block 2" : "coarse block 3"}` });
    const partly = at.at(-1) < shown.frames / 2 ? ` The network gets frames 0 to ${at.at(-1) + (at[1] ?? 1) - (at[0] ?? 0) - 1}.` : "";
    const said = el("p", { className: "quiet" }, `${name === "frames_1" ? "Coarse block 2" : "Coarse block 3"}: ${sayRange("temporal", low, high, "frames")}${partly}`);
    const draw = () => {
      const { pen, width, height } = pens(canvas, 14), inset = 8, last = Math.max(shown?.frames - 1, 1);
      const x = (frame) => inset + (frame / last) * (width - 2 * inset);
      at.forEach((frame, i) => {
        const rank = sorted.indexOf(row[i]) / Math.max(sorted.length - 1, 1), end = at[i + 1] ?? frame + (frame - (at[i - 1] ?? 0) || 1);
        pen.fillStyle = high > low ? ramp(rank) : color("track");
        pen.fillRect(x(frame), 0, Math.max(Math.min(x(end), width - inset) - x(frame), 1) + 0.5, height);
      });
    };
    return { element: el("div", { className: "band" }, canvas, said), draw };
  }

  function drawLegend(attention) {
    const parts = [];
    if (page.layout.sides.some((side) => side)) parts.push(["bone-left", "left"], ["bone-right", "right"]);
    if (shown && shown.bodies > 1 && isThere(1)) parts.push(["bone-other", "second body"]);
    const spans = parts.map(([name, text]) => el("span", {}, swatch(color(name)), text));
    if (attention) spans.push(el("span", {}, swatch(ramp(0)), "least ", swatch(ramp(1)), "most attended"));
    find("legend").replaceChildren(...spans);
  }

  // --- confusion -------------------------------------------------------------------------------

  const PAPER = 660; // pixels that a printed page is wide
  let confusion = null, onPaper = false;
  const matrix = find("matrix");

  function countConfusion() {
    const size = page.classes.length, network = networks[state.matrix];
    const counts = Array.from({ length: size }, () => new Uint32Array(size));
    for (const sample of samples) if (sample.label >= 0) counts[sample.label][network.best[sample.index]] += 1;
    const there = counts.map((row, k) => k).filter((k) => counts[k].some((n) => n) || counts.some((row) => row[k]));
    confusion = { counts, there, sums: counts.map((row) => row.reduce((sum, n) => sum + n, 0)) };
  }

  function drawMatrix() {
    if (!confusion) return;
    const { counts, there, sums } = confusion, count = there.length;
    const beside = find("pairs").parentElement.getBoundingClientRect(), card = find("matrix-card");
    const isBeside = beside.top < matrix.getBoundingClientRect().bottom && window.innerWidth > 768;
    const available = onPaper ? PAPER : Math.max(card.clientWidth - 34 - (isBeside ? beside.width + 24 : 0), 260);
    const named = count <= 40, font = count <= 24 ? 13 : 11;
    const measure = matrix.getContext("2d");
    measure.font = `${font}px system-ui, sans-serif`;
    const longest = named ? Math.min(Math.max(...there.map((k) => measure.measureText(className(k)).width)) + 10, available * 0.3, 210) : 10;
    const head = named ? longest * 0.75 + 6 : 10, cell = Math.max(Math.min((available - longest - head * 0.8) / count, 48), 3);
    const height = Math.ceil(head + cell * count + 4);
    matrix.style.width = `${Math.ceil(longest + cell * count + head * 0.8)}px`;
    matrix.style.height = `${height}px`;
    const { pen } = pens(matrix, height);
    Object.assign(confusion, { cell, left: longest, head });
    pen.font = `${font}px system-ui, sans-serif`;
    pen.textBaseline = "middle";
    there.forEach((k, i) => {
      if (named && cell >= 9) {
        pen.fillStyle = color("ink");
        pen.textAlign = "right";
        pen.fillText(clipped(pen, className(k), longest - 10), longest - 7, head + (i + 0.5) * cell);
        pen.save();
        pen.translate(longest + (i + 0.5) * cell, head - 5);
        pen.rotate(-Math.PI / 4);
        pen.textAlign = "left";
        pen.fillText(clipped(pen, className(k), head * 1.3), 2, 0);
        pen.restore();
      }
    });
    pen.textAlign = "center";
    there.forEach((k, i) => there.forEach((other, j) => {
      const n = counts[k][other], share = sums[k] ? n / sums[k] : 0;
      const [x, y] = [longest + j * cell, head + i * cell], gap = cell > 8 ? 1 : 0;
      pen.fillStyle = color("track");
      pen.fillRect(x, y, cell - gap, cell - gap);
      if (n) {
        const over = i === j ? color("network-0") : color("network-1"), strength = 0.18 + 0.82 * share;
        pen.globalAlpha = strength;
        pen.fillStyle = over;
        pen.fillRect(x, y, cell - gap, cell - gap);
        pen.globalAlpha = 1;
        if (cell >= 18) {
          pen.fillStyle = inkOn(color("track"), over, strength);
          pen.fillText(String(n), x + (cell - gap) / 2, y + (cell - gap) / 2 + 1);
        }
      }
    }));
    const [row, column] = state.cursor;
    const isMarked = document.activeElement === matrix || state.cell?.network === state.matrix;
    if (isMarked && row < count && column < count) {
      pen.strokeStyle = color("mark");
      pen.lineWidth = 2;
      pen.strokeRect(longest + column * cell, head + row * cell, cell - 1, cell - 1);
    }
  }

  function clipped(pen, text, room) {
    if (pen.measureText(text).width <= room) return text;
    let end = text.length;
    while (end > 1 && pen.measureText(`${text.slice(0, end)}…`).width > room) end -= 1;
    return `${text.slice(0, end)}…`;
  }

  function cellAt(event) {
    const box = matrix.getBoundingClientRect(), { cell, left, head, there } = confusion;
    const column = Math.floor((event.clientX - box.left - left) / cell), row = Math.floor((event.clientY - box.top - head) / cell);
    return row >= 0 && column >= 0 && row < there.length && column < there.length ? [row, column] : null;
  }

  function sayCell([row, column]) {
    const { counts, there, sums } = confusion, [k, other] = [there[row], there[column]], n = counts[k][other];
    const share = sums[k] ? digits((100 * n) / sums[k], 1) : "0.0";
    find("matrix-text").textContent = k === other
      ? `${className(k)}: ${n} of ${sums[k]} right (${share} %)`
      : `${className(k)} taken for ${className(other)}: ${n} of ${sums[k]} (${share} %)`;
  }

  function openCell(k, other) {
    state.cell = { row: k, column: other, network: state.matrix };
    state.cursor = [confusion.there.indexOf(k), confusion.there.indexOf(other)];
    find("cell-filter").hidden = false;
    const of = networks.length > 1 ? `${networks[state.matrix].title}: ` : "";
    find("cell-filter").firstElementChild.textContent = k === other ? `${of}${className(k)}, right` : `${of}${className(k)} → ${className(other)}`;
    find("class-filter").value = find("verdict-filter").value = find("search").value = "";
    find("shown-filter").checked = false;
    state.listed = LISTED;
    list();
    drawMatrix();
    if (listed[0]) choose(listed[0]);
    find("list-title").scrollIntoView({ block: "nearest" });
  }

  function closeCell() {
    state.cell = null;
    find("cell-filter").hidden = true;
    list();
    drawMatrix();
  }

  function showConfusion() {
    const known = networks.map((one, index) => index).filter((index) => networks[index].known);
    find("matrix-card").hidden = !labelled || !known.length;
    if (find("matrix-card").hidden) return;
    state.matrix = known[0];
    find("matrix-networks").hidden = known.length < 2;
    find("matrix-networks").replaceChildren(...known.map((index) => {
      const radio = el("input", { type: "radio", name: "matrix-network", checked: index === state.matrix, on: { change: () => { state.matrix = index; countConfusion(); closeCell(); fillPairs(); } } });
      const { title, accuracy } = networks[index];
      return el("label", { className: "check" }, radio, accuracy ? `${title}, top-1 ${digits(accuracy.top1)} %` : title);
    }));
    countConfusion();
    drawMatrix();
    fillPairs();
  }

  function fillPairs() {
    const { counts, sums } = confusion, pairs = [];
    counts.forEach((row, k) => row.forEach((n, other) => { if (n && k !== other) pairs.push({ k, other, n, share: n / sums[k] }); }));
    pairs.sort((a, b) => b.n - a.n || b.share - a.share);
    find("pairs").replaceChildren(...pairs.slice(0, 10).map(({ k, other, n }) => el("li", {}, el("button", { type: "button", on: { click: () => openCell(k, other) } },
      el("span", {}, `${className(k)} → ${className(other)}`), el("b", {}, `${n} of ${sums[k]}`)))));
    if (!pairs.length) find("pairs").append(el("li", { className: "quiet" }, "Nothing is confused."));
  }

  // --- theme and paper -------------------------------------------------------------------------

  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const THEMES = ["system", "light", "dark"];
  let theme = "system";

  function setTheme(next) {
    theme = next;
    document.documentElement.dataset.theme = next === "system" ? (system.matches ? "dark" : "light") : next;
    find("theme-button").textContent = `Theme: ${next}`;
    redraw();
  }

  function redraw() {
    drawAttention();
    drawScores();
    drawStage();
    drawMatrix();
    if (shown) moveCursor();
  }

  function ontoPaper() {
    onPaper = true;
    document.documentElement.dataset.theme = "light";
    for (const one of document.querySelectorAll("#over-time details")) one.open = true;
    redraw();
    drawStrip();
  }

  // --- events ----------------------------------------------------------------------------------

  function turn(across, up) {
    if (flat()) return;
    state.yaw += across;
    state.pitch = Math.min(Math.max(state.pitch + up, -1.5), 1.5);
    drawStage();
  }

  function nearer(factor) {
    state.zoom = Math.min(Math.max(state.zoom * factor, 0.3), 8);
    drawStage();
  }

  function resetView() {
    Object.assign(state, START);
    drawStage();
  }

  let grip = null, pinch = 0;
  const fingers = new Map();

  function fingersApart() {
    const [a, b] = [...fingers.values()];
    return Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
  }

  stage.addEventListener("pointerdown", (event) => {
    stage.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, event);
    grip = [event.clientX, event.clientY];
    if (fingers.size === 2) pinch = fingersApart();
  });
  stage.addEventListener("pointermove", (event) => {
    if (!fingers.has(event.pointerId)) return;
    fingers.set(event.pointerId, event);
    if (fingers.size === 2) {
      const apart = fingersApart();
      nearer(apart / (pinch || apart));
      pinch = apart;
      return;
    }
    turn((event.clientX - grip[0]) * 0.009, (event.clientY - grip[1]) * 0.009);
    grip = [event.clientX, event.clientY];
  });
  for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, (event) => fingers.delete(event.pointerId));
  stage.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && document.activeElement !== stage) return; // the page scrolls
    event.preventDefault();
    nearer(Math.exp(-event.deltaY * 0.0015));
  }, { passive: false });
  stage.addEventListener("dblclick", resetView);
  stage.addEventListener("keydown", (event) => {
    const acts = {
      ArrowLeft: () => turn(-0.12, 0), ArrowRight: () => turn(0.12, 0), ArrowUp: () => turn(0, -0.1), ArrowDown: () => turn(0, 0.1),
      "+": () => nearer(1.15), "=": () => nearer(1.15), "-": () => nearer(1 / 1.15), 0: resetView,
    };
    if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in acts)) return;
    event.preventDefault();
    acts[event.key]();
  });

  matrix.addEventListener("pointermove", (event) => { const at = cellAt(event); if (at) sayCell(at); });
  matrix.addEventListener("click", (event) => {
    const at = cellAt(event);
    if (at) openCell(confusion.there[at[0]], confusion.there[at[1]]);
  });
  for (const change of ["focus", "blur"]) matrix.addEventListener(change, drawMatrix);
  matrix.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
    const [row, column] = state.cursor, last = confusion.there.length - 1;
    if (event.key in moves) {
      const [down, across] = moves[event.key];
      state.cursor = [Math.min(Math.max(row + down, 0), last), Math.min(Math.max(column + across, 0), last)];
      sayCell(state.cursor);
      drawMatrix();
    } else if (event.key === "Enter") openCell(confusion.there[row], confusion.there[column]);
    else return;
    event.preventDefault();
  });

  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input[type=search], select, dialog[open]"), pressed = event.target.closest("button, summary, input");
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const acts = {
      ",": () => shown && seek(Math.max(state.frame - 1, 0)), ".": () => shown && seek(Math.min(state.frame + 1, shown.frames - 1)),
      j: () => step(1), k: () => step(-1), "/": () => find("search").focus(), "?": () => find("keys").showModal(),
    };
    if (event.key === " " && !pressed) acts[" "] = () => play(!state.playing);
    if (!(event.key in acts)) return;
    event.preventDefault();
    acts[event.key]();
  });

  find("play").addEventListener("click", () => play(!state.playing));
  find("back").addEventListener("click", () => { play(false); seek(Math.max(state.frame - 1, 0)); });
  find("ahead").addEventListener("click", () => { play(false); seek(Math.min(state.frame + 1, shown.frames - 1)); });
  find("scrubber").addEventListener("input", (event) => { play(false); seek(Number(event.target.value)); });
  find("speed").addEventListener("change", (event) => { state.speed = Number(event.target.value); });
  find("joint-names").addEventListener("change", (event) => { state.names = event.target.checked; drawStage(); });
  find("reset").addEventListener("click", resetView);
  find("more").addEventListener("click", () => { state.listed += LISTED; list(); });
  find("cell-filter").lastElementChild.addEventListener("click", closeCell);
  for (const id of ["search", "class-filter", "verdict-filter", "shown-filter"])
    find(id).addEventListener("input", () => { state.listed = LISTED; list(); });
  find("keys-button").addEventListener("click", () => find("keys").showModal());
  find("print-button").addEventListener("click", () => window.print());
  find("theme-button").addEventListener("click", () => setTheme(THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length]));
  system.addEventListener("change", () => setTheme(theme));
  window.addEventListener("beforeprint", ontoPaper);
  window.addEventListener("afterprint", () => { onPaper = false; setTheme(theme); });
  new ResizeObserver(() => { drawStage(); drawMatrix(); }).observe(document.querySelector("main"));

  // --- begin -----------------------------------------------------------------------------------

  document.title = page.title;
  find("title").textContent = page.title;
  find("facts").append(...page.facts.map(([name, text]) => el("div", {}, el("dt", {}, name), el("dd", {}, text))));
  document.body.classList.toggle("no-networks", !networks.length);
  stage.classList.toggle("flat", flat());
  find("stage-help").textContent = flat()
    ? "A picture has no depth, so it does not turn. Plus and minus come nearer and go farther."
    : "Drag or use the arrow keys to turn it; plus and minus come nearer and go farther; 0 resets the view.";
  fillFilters();
  list();
  setTheme("system");
  choose(listed.find((one) => one.recording >= 0) ?? listed[0] ?? null);
  showConfusion();
})();
