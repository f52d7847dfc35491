"use strict";
// Draws the report that the page has as JSON. What is named in it comes from the program and may be any text: here it becomes
// text of nodes and values of attributes that are not run, never markup.

/** More rows than this are counted only; the filter finds the others. */
const MOST_ROWS = 2000;
/** Of those who wait for one lock and are waited for by nobody, this many are drawn. */
const MOST_ALIKE = 8;
/** Chains are drawn up to this many nodes, and all of the graph up to so many. */
const LONGEST_CHAIN = 60, MOST_NODES = 3000;

// ---- nodes of the page ----

function make(tag, attributes = {}, ...children) {
  const [name, space] = tag.split("@");
  const node = space ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  Object.entries(attributes).forEach(([key, value]) => node.setAttribute(key, value));
  node.append(...children.flat(Infinity).filter(child => child != null));
  return node;
}

/** Text without characters that turn its direction, break lines or hide: these become their numbers. */
function shown(text) {
  return String(text).replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\u115f\u1160\u3164\uffa0]/gu,
    character => `\\u{${character.codePointAt(0).toString(16)}}`);
}

function cut(text, length) {
  const characters = [...text];
  return characters.length > length ? characters.slice(0, length - 1).join("") + "\u2026" : text;
}

const withoutAddress = variable => variable.replace(/^0x[0-9a-f]+ /, "");
const words = key => key.replaceAll("_", " ").replace(/ ns$/, "");
const seconds = nanoseconds => (nanoseconds / 1e9).toFixed(3) + " s";

/** A value of the JSON for people. */
function plain(key, value) {
  if (value == null) return "";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (key.endsWith("_ns") && typeof value === "number") return seconds(value);
  if (Array.isArray(value)) return value.map(item => plain("", item)).join("; ");
  if (typeof value === "object") {
    return Object.entries(value).map(([name, item]) => `${words(name)}: ${plain(name, item)}`).join(", ");
  }
  return shown(value);
}

function facts(object, leaveOut = []) {
  const members = Object.entries(object).filter(([key]) => !leaveOut.includes(key));
  return make("dl", {}, members.map(([key, value]) => [make("dt", {}, words(key)), make("dd", {}, plain(key, value) || "none")]));
}

// ---- what the report says ----

/** Threads by their keys, locks by handle or address; cycles of threads. */
function understand(reports, acrossCopies) {
  const threads = new Map(), tasks = new Map(), locks = new Map(), cycles = [];

  function threadOf(tid, name, key = tid) {
    if (!threads.has(key)) threads.set(key, { tid, name: "", owns: [], state: "", layers: [], rest: {} });
    const thread = threads.get(key);
    thread.name ||= shown(name ?? "");
    return thread;
  }

  function lockOf(id, kind, label = id) {
    if (!locks.has(id)) locks.set(id, { id: shown(id), kind, label: shown(label), owner: null, certain: true });
    return locks.get(id);
  }

  /** A wait for anything, as the threads of hostcrst-dump have it. One that the task has told of already is only added to. */
  function waitFor(thread, what) {
    const id = what.section ?? what.resource ?? what.srw_lock ?? what.address;
    const kind = words((what.behaviour ?? "plain") === "plain" ? what.kind : `${what.behaviour} ${what.kind}`);
    const lock = id && lockOf(id, kind, withoutAddress(what.variable ?? id));
    const owner = what.owner_tid ? threadOf(what.owner_tid)
      : what.owner_not_in_process && threadOf(what.owner_not_in_process, "not of this process");
    if (lock && owner) {
      lock.owner ??= owner;
      lock.certain &&= what.certain;
    }
    if (lock && what.readers) lock.note = `${what.readers} readers`;
    thread.wait ??= { kind, lock, owner, certain: true, since: what.for_ns, at: what.at && shown(what.at) };
    thread.wait.certain &&= what.certain;
    thread.wait.limited ||= what.limited;
  }

  for (const report of reports) {
    const known = new Set();
    for (const task of report.tasks) {
      // Of one report each task is a row, also where a thread has several.
      const thread = threadOf(task.tid, task.name, known.has(task.tid) ? task.task : task.tid);
      known.add(task.tid);
      tasks.set(task.task, thread);
      thread.layers = thread.layers.concat(task.layers);
      thread.depth = (thread.depth ?? 0) + task.depth;
      Object.assign(thread.rest, task);
    }
    for (const section of [...report.sections, ...report.resources ?? []]) {
      const id = section.section ?? section.resource;
      const lock = lockOf(id, section.resource ? "resource" : "section", section.name || withoutAddress(section.critical_section ?? id));
      lock.owner = tasks.get(section.owner) ?? null;
      lock.owner?.owns.push(lock);
      lock.since = section.owned_for_ns;
      lock.at = section.entered_at && shown(section.entered_at);
      if (section.orphaned_by_tid) lock.note = `its owner ${section.orphaned_by_tid} has ended`;
      else if (section.state !== "owned") lock.note = section.state;
    }
    for (const task of report.tasks) {
      const thread = tasks.get(task.task);
      const { waiting, sleeping } = task;
      if (waiting) {
        const kind = waiting.srw_lock ? "srw_lock" : waiting.resource ? "resource" : "section";
        waitFor(thread, { kind, certain: true, ...waiting });
        if (waiting.srw_lock) thread.wait.lock.owner = tasks.get(waiting.owner) ?? null;
        if (waiting.holders) thread.wait.lock.note = `held shared ${waiting.holders} time${waiting.holders === 1 ? "" : "s"}`;
      }
      if (sleeping) {
        const kind = sleeping.on_address ? "windows_address" : sleeping.init_once ? "windows_init_once" : "windows_condition_variable";
        const address = sleeping.on_address ?? sleeping.init_once ?? sleeping.condition_variable;
        waitFor(thread, { kind, certain: true, address, ...sleeping });
      }
      if (task.waits_for) waitFor(thread, task.waits_for);
    }
    for (const seen of report.threads ?? []) {
      const thread = threadOf(seen.tid, seen.name);
      thread.state = seen.state;
      thread.call = seen.call && shown(`${seen.call} ${seen.meaning ?? ""}`);
      if (seen.waits_for) waitFor(thread, seen.waits_for);
      Object.assign(thread.rest, seen);
    }
    report.deadlocks.forEach(cycle => cycles.push({ certain: true, members: cycle.map(member => tasks.get(member.task)) }));
    report.thread_deadlocks?.forEach(({ certain, tids }) => cycles.push({ certain, members: tids.map(tid => threadOf(tid)) }));
  }
  acrossCopies.forEach(cycle => cycles.push({ certain: true, members: cycle.map(member => threadOf(member.tid, member.name)) }));
  const whole = cycles.filter(({ members }) => members.every(member => member?.wait));
  for (const { certain, members } of whole) members.forEach(member => (member.cycle = certain ? "deadlock" : "probably a deadlock"));
  return { threads: [...threads.values()], tasks, locks: [...locks.values()], cycles: whole };
}

const probably = isCertain => isCertain ? "" : "probably ";
const listed = names => names.slice(0, 5).join(", ") + (names.length > 5 ? `, and ${names.length - 5} more` : "");
const nameOf = thread => `${thread.name ? `"${thread.name}"` : "thread"} ${thread.tid}`;
const ownerOf = thread => thread.wait?.lock ? thread.wait.lock.owner : thread.wait?.owner;
const awaited = wait => wait.lock ? `${wait.lock.kind} ${wait.lock.label}` : wait.kind === "join" ? "its end (join)" : wait.kind;

// ---- the graph ----

/** A node has at most one next one: what a thread waits for, and who owns that. So each part of the graph is a tree that leads
  to one node or into one cycle, its spine. */
function graphOf({ threads, locks }) {
  const nodes = new Map();
  const nodeOf = (thing, isLock) => {
    if (!nodes.has(thing)) nodes.set(thing, { thing, isLock, before: [], next: null });
    return nodes.get(thing);
  };
  const link = (from, to, edge) => {
    from.next = { to, ...edge };
    to.before.push(from);
  };
  const isOfInterest = wait => wait.owner || wait.lock?.owner || wait.lock?.note || wait.lock?.kind === "section";
  for (const thread of threads.filter(thread => thread.wait && isOfInterest(thread.wait))) {
    const { lock, owner, certain, limited } = thread.wait;
    const words = `${probably(certain)}waits${limited ? ", with a limit" : " for"}`;
    link(nodeOf(thread), lock ? nodeOf(lock, true) : nodeOf(owner), { certain, limited, red: Boolean(thread.cycle), words });
  }
  for (const lock of locks.filter(lock => lock.owner && nodes.has(lock))) {
    const red = nodes.get(lock).before.some(({ thing }) => thing.cycle && ownerOf(thing)?.cycle);
    link(nodes.get(lock), nodeOf(lock.owner), { certain: lock.certain, red, words: `${probably(lock.certain)}owned by` });
  }
  return [...nodes.values()];
}

/** Where all ways end: single nodes, and cycles. */
function spinesOf(nodes) {
  const spines = [];
  for (let node of nodes) {
    const way = new Set();
    for (; node.next && !node.passed; node = node.next.to) {
      node.passed = true;
      way.add(node);
    }
    if (way.has(node)) spines.push([...way].slice([...way].indexOf(node)));
    else if (!node.passed) spines.push([node]);
    node.passed = true;
  }
  return spines;
}

/** Gives each node a column, counted from the right, and a row; returns those that are drawn. */
function layOut(nodes) {
  const placed = [];
  let row = 0;
  const put = (node, column) => {
    const others = node.before.filter(before => before.column === undefined);
    const isAlone = before => before.before.length === 0;
    const alone = others.filter(isAlone);
    const drawn = column >= LONGEST_CHAIN || placed.length > MOST_NODES ? []
      : others.filter(before => !isAlone(before)).concat(alone.length > MOST_ALIKE ? alone.slice(0, MOST_ALIKE - 2) : alone);
    const left = others.length - drawn.length;
    node.column = column;
    placed.push(node);
    drawn.forEach(before => put(before, column + 1));
    if (left) {
      const more = { more: left, before: [], column: column + 1, row: row++, next: { to: node, certain: true, words: "waits for" } };
      placed.push(more);
      drawn.push(more);
    }
    node.row = drawn.length ? (drawn[0].row + drawn.at(-1).row) / 2 : row++;
  };
  const isRed = spine => spine.some(node => node.next?.red);
  for (const spine of spinesOf(nodes).sort((one, other) => isRed(other) - isRed(one) || other.length - one.length)) {
    if (placed.length > MOST_NODES) break;
    spine.forEach(node => (node.column = 0));
    spine.forEach(node => {
      put(node, 0);
      row += .7;
    });
  }
  return placed;
}

const NODE = { width: 215, height: 44, column: 375, row: 62 };

function drawGraph(model) {
  const all = graphOf(model), nodes = layOut(all);
  if (nodes.length === 0) return make("p", { class: "note" }, "No thread waits for another one.");
  const columns = Math.max(...nodes.map(node => node.column));
  for (const node of nodes) {
    node.x = 10 + (columns - node.column) * NODE.column;
    node.y = 10 + node.row * NODE.row;
  }
  const width = columns * NODE.column + NODE.width + 180, height = Math.max(...nodes.map(node => node.y)) + NODE.height + 20;
  const svg = make("svg@svg", { width, height, role: "group", "aria-label": "Who waits for whom; the table of threads says the same" });
  svg.append(make("defs@svg", {}, ["", " red"].map(red => make("marker@svg",
    { id: `head${red.trim()}`, viewBox: "0 0 8 8", refX: 8, refY: 4, markerWidth: 9, markerHeight: 9, markerUnits: "userSpaceOnUse", orient: "auto" },
    make("path@svg", { d: "M0 0 8 4 0 8z", class: `head${red}` })))));
  svg.append(...nodes.filter(node => node.next?.to.x !== undefined).map(drawEdge), ...nodes.map(drawNode));
  const waiting = nodes => nodes.filter(({ thing }) => thing?.wait).length, hidden = waiting(all) - waiting(nodes);
  return [
    make("div", { class: "scrolls", tabindex: 0, role: "region", "aria-label": "Wait graph" }, svg),
    hidden ? make("p", { class: "note" }, `${hidden} more threads wait; the table has them.`) : null,
    legend(),
  ];
}

function drawEdge({ x, y, next }) {
  const { to, certain, limited, red } = next;
  const middle = NODE.height / 2, kind = `${red ? " red" : ""}${certain ? "" : " probable"}${limited ? " limited" : ""}`;
  let way, label;
  if (x === to.x && to.y > y) {
    const right = x + NODE.width / 2;
    way = `M${right} ${y + NODE.height}V${to.y}`;
    label = { x: right + 8, y: (y + NODE.height + to.y) / 2 + 4 };
  } else if (x === to.x) {
    const right = x + NODE.width, far = right + 75;
    way = `M${right} ${y + middle}C${far} ${y + middle} ${far} ${to.y + middle} ${right} ${to.y + middle}`;
    label = { x: right + 62, y: (y + to.y) / 2 + middle + 4 };
  } else {
    const left = x + NODE.width, half = (left + to.x) / 2;
    way = `M${left} ${y + middle}C${half} ${y + middle} ${half} ${to.y + middle} ${to.x} ${to.y + middle}`;
    label = { x: left + 8, y: y + middle - 5 };
  }
  return make("g@svg", {},
    make("path@svg", { d: way, class: `edge${kind}`, "marker-end": `url(#head${red ? "red" : ""})` }),
    make("text@svg", { ...label, class: `words${red ? " red" : ""}` }, next.words));
}

function drawNode({ thing, isLock, more, x, y, next }) {
  const box = rounding => make("rect@svg", { width: NODE.width, height: NODE.height, rx: rounding });
  const text = (words, line, kind) => make("text@svg", { x: 12, y: 18 + 17 * line, class: kind }, cut(words, 27));
  const place = { transform: `translate(${x} ${y})` };
  if (more) return make("g@svg", place, box(22), text(`${more} more`, 0, ""), text("the table has them", 1, "second"));
  const red = next?.red || thing.cycle ? " red" : "";
  if (isLock) {
    const second = `${thing.kind}${thing.note ? `, ${thing.note}` : ""}`;
    return make("g@svg", { ...place, class: `lock${red}` }, box(0),
      make("title@svg", {}, `${second} ${thing.id} ${thing.label}${thing.at ? ` entered at ${thing.at}` : ""}`),
      text(thing.label, 0, ""), text(second, 1, "second"));
  }
  const since = thing.wait?.since;
  const link = make("a@svg", { href: "#", class: `thread${red}` }, box(22),
    make("title@svg", {}, `${nameOf(thing)}: show it in the table`),
    text(thing.name || "thread", 0, ""), text(`tid ${thing.tid}${since === undefined ? "" : `, ${seconds(since)}`}`, 1, "second"));
  link.addEventListener("click", event => {
    event.preventDefault();
    thing.reveal();
  });
  return make("g@svg", place, link);
}

function legend() {
  const line = kind => make("svg@svg", { width: 40, height: 10, "aria-hidden": "true" }, make("path@svg", { d: "M0 5H40", class: `edge ${kind}` }));
  const entries = [["red", "red: part of a deadlock"], ["", "solid: certain"], ["probable", "dashed: probable"],
    ["limited", "dotted: ends by itself, it has a time limit"]];
  return make("ul", { class: "legend" }, entries.map(([kind, text]) => make("li", {}, line(kind), text)),
    make("li", {}, "round: a thread; square: what it waits for"));
}

// ---- tables ----

/** A table to filter and to sort. A column has a name, and a function from a row to its text or number; the first one's
  `first` makes the node. */
function table(title, rows, columns, first, isRed = () => false) {
  const body = make("tbody"), count = make("output", { "aria-live": "polite", class: "note" });
  const search = make("input", { type: "search", placeholder: "all of these words" });
  const cells = new Map(rows.map(row => [row, columns.map(column => column.of(row) ?? "")]));
  const texts = new Map(rows.map(row => [row, cells.get(row).join(" ").toLowerCase()]));
  const drawn = new Map();
  let sorted = rows;

  function draw(row) {
    if (!drawn.has(row)) {
      const values = cells.get(row).map((value, at) => at === 0 && first ? first(row)
        : make("td", typeof value === "number" ? { class: "number" } : {}, columns[at].show?.(value) ?? String(value)));
      drawn.set(row, make("tr", { tabindex: -1, class: isRed(row) ? "red" : "" }, values));
    }
    return drawn.get(row);
  }

  function refresh() {
    const wanted = search.value.toLowerCase().split(/\s+/);
    const found = sorted.filter(row => wanted.every(word => texts.get(row).includes(word)));
    body.replaceChildren(...found.slice(0, MOST_ROWS).map(draw));
    const cut = found.length > MOST_ROWS ? `, the first ${MOST_ROWS} shown` : "";
    count.textContent = `${found.length} of ${rows.length}${cut}`;
  }

  function sortBy(at, heading) {
    const turn = heading.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    headings.forEach(other => other.setAttribute("aria-sort", "none"));
    heading.setAttribute("aria-sort", turn === 1 ? "ascending" : "descending");
    const isNone = row => cells.get(row)[at] === "";
    const compare = (one, other) => typeof one === "number" && typeof other === "number" ? one - other : collator.compare(one, other);
    sorted = [...rows].sort((one, other) => isNone(one) - isNone(other) || turn * compare(cells.get(one)[at], cells.get(other)[at]));
    refresh();
  }

  const headings = columns.map(({ name }, at) => {
    const button = make("button", { type: "button" }, name);
    const heading = make("th", { scope: "col", "aria-sort": "none" }, button);
    button.addEventListener("click", () => sortBy(at, heading));
    return heading;
  });
  search.addEventListener("input", refresh);
  refresh();
  const reveal = row => {
    search.value = "";
    refresh();
    if (!body.contains(draw(row))) body.prepend(draw(row));
    draw(row).scrollIntoView({ block: "center" });
    draw(row).focus();
  };
  const node = make("div", {}, make("label", {}, "Filter ", search), count, make("div", { class: "scrolls", tabindex: 0, role: "region", "aria-label": title },
    make("table", { "data-sorts": "" }, make("caption", {}, title), make("thead", {}, make("tr", {}, headings)), body)));
  return { node, reveal };
}
const collator = new Intl.Collator("en", { numeric: true });

function threadTable({ threads }) {
  const columns = [
    { name: "Thread", of: thread => thread.name },
    { name: "tid", of: thread => thread.tid },
    { name: "State", of: thread => [thread.cycle, thread.state, thread.rest.mode === "unknown" ? "" : thread.rest.mode].filter(Boolean).join(", ") },
    { name: "Waits for", of: ({ wait, call }) => wait ? `${probably(wait.certain)}${awaited(wait)}${wait.limited ? ", with a time limit" : ""}` : call },
    { name: "Owned by", of: thread => ownerOf(thread) ? `${probably(thread.wait.certain)}${nameOf(ownerOf(thread))}` : thread.wait?.lock?.note },
    { name: "For", of: ({ wait }) => wait?.since, show: value => value === "" ? "" : seconds(value) },
    { name: "At", of: ({ wait }) => wait?.at },
    { name: "Owns", of: thread => listed(thread.owns.map(lock => lock.label)) },
  ];
  const first = thread => make("td", {}, folded(thread.name || "thread", () => particulars(thread)));
  const { node, reveal } = table(`${threads.length} threads. Open one for its layers, its stack and all else that is known.`,
    threads, columns, first, thread => thread.cycle);
  threads.forEach(thread => (thread.reveal = () => reveal(thread)));
  return node;
}

/** What is shown once it is opened. */
function folded(summary, content) {
  const details = make("details", {}, make("summary", {}, summary));
  details.addEventListener("toggle", () => details.append(make("div", {}, content())), { once: true });
  return details;
}

function particulars(thread) {
  const { stack, stack_end, layers, anomalies, name, tid, waiting, sleeping, waits_for, ...rest } = thread.rest;
  const counts = Object.entries(anomalies ?? {}).filter(([, count]) => count !== 0);
  return [
    facts({ ...rest, ...thread.wait && facts_of(thread.wait), ...Object.fromEntries(counts) }, ["library"]),
    thread.layers.length ? nested(thread) : null,
    stack ? folded("Stack", () => [
      make("ol", {}, stack.map(({ at, certain }) => make("li", {}, probably(certain) + shown(at)))),
      stack_end ? make("p", { class: "note" }, shown(stack_end)) : null,
    ]) : null,
  ];
}

const facts_of = ({ lock, at }) => ({ ...lock && { waits_for: `${lock.kind} ${lock.id} ${lock.label}` }, ...at && { at } });

/** Layers, each inside of the one that was open before it. */
function nested({ layers, depth }) {
  const bar = (kind, text, inner) => make("div", { class: `layer ${kind}` }, `${kind} ${text}`, inner);
  const kindOf = layer => layer.kind === "leave" ? "native" : layer.kind === "reverse_enter" ? "managed" : words(layer.kind);
  const inner = layers.reduce((inner, layer) => bar(kindOf(layer), shown(layer.name), inner), null);
  const older = depth - layers.length;
  if (older > 0) return bar("", `${older} older layers`, inner);
  return bar(kindOf(layers.at(-1)) === "native" ? "managed" : "native", "(the thread began here)", inner);
}

const isList = value => typeof value?.[0] === "object";
const isDrawn = value => isList(value) || typeof value === "object" && Object.values(value ?? {}).some(isList);

/** Tables of the lists that are in an object, and in the objects in it. */
function anyTables(object, leaveOut, model, title = "") {
  return Object.entries(object).filter(([key, value]) => !leaveOut.includes(key) && isDrawn(value)).map(([key, value]) =>
    isList(value) ? anyTable(title + words(key), value, model) : anyTables(value, [], model, `${words(key)}: `));
}

/** A table of whatever objects there are. */
function anyTable(title, objects, { tasks }) {
  const keys = [...new Set(objects.flatMap(object => Object.keys(object)))];
  const value = (key, value) => tasks.has(value) ? nameOf(tasks.get(value)) : typeof value === "number" ? value : plain(key, value);
  const columns = keys.map(key => ({ name: words(key), of: object => value(key, object[key]), show: number => plain(key, number) }));
  return table(title, objects, columns).node;
}

// ---- the order that led here ----

/** What a member of a cycle waited for, as it was. */
const lockOf = member => member.critical_section || member.variable || member.section_name || member.resource_name || member.section || member.resource;

/** A column for each of a cycle; each took what the one before it waits for. */
function orderTable(title, members, fate) {
  const steps = members.flatMap((member, at) => {
    const taken = members.at(at - 1);
    return [
      { at, age: taken.ownedFor, words: `took ${taken.lock}`, place: taken.takenAt },
      { at, age: member.since, words: `waits for ${member.lock}`, place: member.at, isLast: true },
    ];
  });
  const isTimed = steps.every(step => step.age !== undefined);
  // Where it is not known of each when it took what it has, only the waits are in order.
  const rows = isTimed ? steps.sort((one, other) => other.age - one.age).map(step => [step])
    : [steps.filter(step => !step.isLast), ...steps.filter(step => step.isLast).map(step => [step])];
  return make("div", { class: "scrolls", tabindex: 0, role: "region", "aria-label": title }, make("table", { class: "order" }, make("caption", {}, title),
    make("thead", {}, make("tr", {}, members.map(member => make("th", { scope: "col" }, member.name)))),
    make("tbody", {}, rows.map(row => make("tr", {}, members.map((_, at) => make("td", {}, row.filter(step => step.at === at)
      .map(step => [make("strong", {}, step.words), step.place && ` at ${step.place}`]))))),
    make("tr", { class: "fate" }, make("td", { colspan: members.length }, fate)))));
}

function orders(reports, { cycles }) {
  const standing = cycles.map(({ members, certain }) => orderTable(
    certain ? "A deadlock that stands" : "Probably a deadlock",
    members.map(member => {
      const { wait } = member;
      const { lock } = wait;
      return { name: nameOf(member), lock: awaited(wait), at: wait.at, since: wait.since, takenAt: lock?.at, ownedFor: lock?.since };
    }),
    certain ? "DEADLOCK" : "PROBABLY A DEADLOCK"));
  const past = reports.flatMap(report => report.past_deadlocks).map(({ members, tasks, age_ns, victim }) => {
    // The first one came last.
    const inOrder = members.map((member, at) => {
      const next = members[(at + 1) % members.length];
      return { name: `"${shown(member.name)}" ${member.tid}`, lock: shown(lockOf(member)), at: member.at && shown(member.at),
        takenAt: next.entered_at && shown(next.entered_at) };
    });
    const turned = inOrder.slice(1).concat(inOrder[0]);
    const ago = age_ns === undefined ? "" : ` ${seconds(age_ns)} ago`;
    const name = victim === undefined ? "" : members[victim] ? `: "${shown(members[victim].name)}" got HOST_E_DEADLOCK` : ": a wait was refused";
    return folded(`Found${ago}: ${tasks} tasks${victim === undefined ? "" : ", broken"}`, () => orderTable("The order that led there", turned, `DEADLOCK${name}`));
  });
  if (standing.length + past.length === 0) return [];
  return [make("h2", {}, "The order that led there"), ...standing, past.length ? make("h3", {}, "Deadlocks that were found so far") : null, ...past];
}

// ---- the page ----

function draw() {
  const objects = document.getElementById("report").textContent.trim().split("\n").map(line => JSON.parse(line));
  const reports = objects.filter(object => object.tasks);
  const model = understand(reports, objects.filter(object => object.copies).flatMap(object => object.deadlocks));
  const cycles = [...model.cycles, ...objects.flatMap(object => object.process_deadlocks ?? [])];
  const verdict = cycles.some(({ certain }) => certain) ? "bad" : cycles.length ? "unsure" : "good";
  document.body.className = verdict;
  document.querySelector("h1").append(` on process ${reports[0].pid}`);
  document.title = `${document.getElementById("verdict").textContent.split("\n")[0]} (process ${reports[0].pid})`;

  const known = ["tasks", "sections", "threads", "deadlocks", "thread_deadlocks", "past_deadlocks", "win32_misuses"];
  const others = reports.flatMap(report => {
    const misuses = Object.fromEntries(Object.entries(report.win32_misuses).filter(([, count]) => count !== 0));
    return [
      ...report.sections.length ? [anyTable("Sections that are owned, or were waited for", report.sections, model)] : [],
      anyTables(report, known, model),
      facts({ ...report, ...misuses }, Object.keys(report).filter(key => known.includes(key) || isDrawn(report[key]))),
    ];
  });
  document.getElementById("drawn").append(make("div", {},
    make("h2", {}, "Who waits for whom"), drawGraph(model), orders(reports, model),
    make("h2", { id: "threads", tabindex: -1 }, "Threads"), threadTable(model),
    make("h2", {}, "All else"), others));
  document.getElementById("text").open = false;
}

draw();
