'use strict';
const MOST = 60; // terms that a matrix on a screen can show; the API itself takes 2048 texts
const EXAMPLE = ['cardiac arrest', 'myocardial infarction', 'infarctus du myocarde', '心肌梗死', '心筋梗塞', 'breach of contract', '违约',
  'force majeure', '不可抗力', 'credit default swap', '信用违约互换', 'shear stress', '剪切应力', 'binary search tree', '二叉树'];
const $ = id => document.getElementById(id);
let models = [], domains = [], steps = []; // steps: the dimensions that the slider goes through
let key = '', keyAsked = false, running = null;
let result = null; // what is drawn: {request, cosines, summary}

/** An element; children that are strings become text nodes, so that nothing typed is read as HTML. */
function make(name, attributes = {}, ...children) {
  const space = ['g', 'line', 'circle', 'text'].includes(name) ? 'http://www.w3.org/2000/svg' : 'http://www.w3.org/1999/xhtml';
  const element = document.createElementNS(space, name);
  for (const [attribute, value] of Object.entries(attributes)) element.setAttribute(attribute, value);
  element.append(...children);
  return element;
}
const shorten = (text, most) => text.length > most ? `${text.slice(0, most)}…` : text;
const written = (value, digits) => value.toFixed(digits).replace(/^-(0\.0+)$/, '$1').replace('-', '−');

// ---- the API ----

/** The JSON of a route; throws an Error in words. */
async function call(path, body, signal) {
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  if (body) headers['Content-Type'] = 'application/json';
  let response, answer;
  try {
    response = await fetch(path, { method: body ? 'POST' : 'GET', headers, body: body && JSON.stringify(body), signal });
    answer = await response.json();
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    if (!response) throw new Error('The server cannot be reached. It may have stopped, or the network between is down.');
  }
  if (response.ok && answer) return answer;
  if (response.status === 401) {
    keyAsked = true;
    $('key-field').hidden = false;
    $('key').focus();
  }
  const id = response.status >= 500 && response.headers.get('x-request-id');
  throw new Error((answer?.error?.message ?? `The server answered ${response.status} and gave no reason.`) + (id ? ` (request id ${id})` : ''));
}

async function load(signal) {
  const lists = await Promise.all(['v1/models', 'v1/domains'].map(path => call(path, null, signal)));
  [models, domains] = lists.map(list => list.data);
  $('model').append(...models.map(model => make('option', {}, model.id)));
  $('domain').lastElementChild.before(...domains.map(domain => make('option', { value: `domain:${domain.name}` }, domain.name)));
  chooseModel();
}

function chooseModel() {
  const model = models[$('model').selectedIndex], before = steps[$('dimensions').value], all = model.dimensions;
  steps = [32, 64, 128, 256, 512, 768, 1024, 1536, 2048, 2560, 3072].filter(n => n >= model.min_dimensions && n < all).concat(all);
  $('dimensions').max = steps.length - 1;
  $('dimensions').value = steps.includes(before) ? steps.indexOf(before) : steps.length - 1;
  $('server').textContent = [model.id, `${model.precision ?? ''} on ${model.execution_provider}`.trim(), `${all} dimensions`,
    `up to ${model.max_length} tokens`].join(' · ');
}

// ---- the form ----

/** The body of POST /v1/embeddings for what the form shows. */
function request() {
  const model = models[$('model').selectedIndex], dimensions = steps[$('dimensions').value];
  const choice = $('domain').value, instruction = $('instruction').value.trim();
  const body = { model: model?.id ?? '' };
  if (dimensions < model?.dimensions) body.dimensions = dimensions;
  if (choice.startsWith('domain:')) body.domain = choice.slice('domain:'.length);
  if (choice === 'own' && instruction) body.instruction = instruction;
  body.input = $('terms').value.split('\n').map(line => line.trim()).filter(Boolean);
  return body;
}

/** Everything that follows from the form at once, without the server. */
function showForm() {
  const body = request(), count = body.input.length, dimensions = steps[$('dimensions').value];
  $('count').textContent = `${count} of at most ${MOST}`;
  $('count').style.color = count > MOST ? 'var(--alert)' : '';
  $('instruction').hidden = $('domain').value !== 'own';
  const wording = body.instruction ?? domains.find(domain => domain.name === body.domain)?.text;
  $('wording').textContent = wording ? `Put before each term: “${wording}”` : 'Terms are embedded as they are.';
  $('dimensions-shown').textContent = dimensions ?? '';
  $('dimensions').setAttribute('aria-valuetext', `${dimensions} dimensions`);
  const stale = result && !running && JSON.stringify(body) !== JSON.stringify(result.request);
  $('results').classList.toggle('stale', Boolean(stale));
  if (result && !running) $('status').textContent = stale ? 'These results are from before the form changed.' : result.summary;
  showCode(body);
}

function showCode({ input, ...rest }) {
  const base = new URL('v1', location.href).href, python = JSON.stringify; // a JSON string is a Python string, too
  const lines = ['']; // the terms, as many on a line as fit
  for (const term of input.map(term => JSON.stringify(term) + ',')) {
    if (lines.at(-1) && lines.at(-1).length + term.length > 76) lines.push('');
    lines[lines.length - 1] += (lines.at(-1) && ' ') + term;
  }
  const inShell = text => text.replaceAll("'", String.raw`'\''`);
  const fields = Object.entries(rest).map(([field, value]) => `"${field}": ${JSON.stringify(value)}, `).join('');
  $('curl').textContent = [`curl ${base}/embeddings \\`, "  -H 'Content-Type: application/json' \\",
    ...(keyAsked ? ['  -H "Authorization: Bearer $OPENAI_API_KEY" \\'] : []),
    `  -d '{${inShell(fields)}"input": [`, ...lines.map(line => `    ${inShell(line)}`)].join('\n').replace(/,$/, '') + "\n  ]}'";
  const { model, dimensions, ...own } = rest;
  $('python').textContent = ['from openai import OpenAI', '',
    `client = OpenAI(base_url=${python(base)}${keyAsked ? ')  # reads the key from OPENAI_API_KEY' : ', api_key="none")'}`,
    'answer = client.embeddings.create(', `    model=${python(model)},`,
    ...(dimensions ? [`    dimensions=${dimensions},`] : []),
    ...Object.entries(own).map(([field, value]) => `    extra_body={"${field}": ${python(value)}},`),
    '    input=[', ...lines.map(line => `        ${line}`), '    ],', ')', 'vectors = [item.embedding for item in answer.data]'].join('\n');
}

async function compare() {
  running?.abort();
  const mine = running = new AbortController();
  let body;
  try {
    if (models.length === 0) await load(mine.signal);
    showForm();
    body = request();
    const count = body.input.length;
    if (count < 2) throw new Error('Enter at least two terms, one per line.');
    if (count > MOST) throw new Error(`${count} terms are too many to show: this page compares up to ${MOST}. The API takes 2048 texts in a request.`);
    const started = performance.now();
    const answer = await call('v1/embeddings', body, mine.signal);
    const ms = performance.now() - started, vectors = answer.data.map(item => unit(item.embedding));
    result = { request: body, cosines: vectors.map(a => vectors.map(b => dot(a, b))),
      summary: `${count} terms · ${answer.usage.total_tokens} tokens · ${vectors[0].length} dimensions · ${ms.toFixed(ms < 10 ? 1 : 0)} ms round trip` };
    $('error').hidden = true;
    $('results').hidden = false;
    drawMatrix();
    drawPlane();
  } catch (error) {
    if (mine !== running || error.name === 'AbortError') return;
    const at = /^input\[(\d+)\]/.exec(error.message);
    $('error').textContent = error.message + (at ? ` (input[${at[1]}] is “${shorten(body.input[at[1]], 60)}”)` : '');
    $('error').hidden = false;
  } finally {
    if (mine === running) { running = null; showForm(); }
  }
}

// ---- numbers ----

const sum = list => list.reduce((total, value) => total + value, 0);
const dot = (a, b) => { let total = 0; for (let k = 0; k < a.length; k++) total += a[k] * b[k]; return total; };
const unit = vector => { const norm = Math.hypot(...vector); return vector.map(value => value / norm); };

/** Each term's coordinates on the two largest principal components of the unit vectors, and the components' shares of the
    variance. The products of the centred vectors follow from the cosines; Jacobi rotations diagonalise them. */
function principal(cosines) {
  const each = [...cosines.keys()], means = cosines.map(row => sum(row) / row.length), mean = sum(means) / means.length;
  const a = cosines.map((row, i) => row.map((cosine, j) => cosine - means[i] - means[j] + mean));
  const basis = each.map(i => each.map(j => Number(i === j))), trace = Math.max(sum(each.map(i => a[i][i])), 1e-9);
  const rest = () => sum(each.map(i => sum(each.map(j => i === j ? 0 : a[i][j] ** 2))));
  for (let sweep = 0; sweep < 50 && rest() > 1e-20 * trace ** 2; sweep++) {
    for (const p of each) for (const q of each.slice(p + 1)) {
      const angle = Math.atan2(2 * a[p][q], a[q][q] - a[p][p]) / 2, c = Math.cos(angle), s = Math.sin(angle);
      const turn = (x, y) => [c * x - s * y, s * x + c * y];
      for (const k of each) [a[k][p], a[k][q]] = turn(a[k][p], a[k][q]);
      for (const k of each) [a[p][k], a[q][k]] = turn(a[p][k], a[q][k]);
      for (const k of each) [basis[k][p], basis[k][q]] = turn(basis[k][p], basis[k][q]);
    }
  }
  const largest = each.toSorted((i, j) => a[j][j] - a[i][i]).slice(0, 2);
  // A component has no direction of its own: the first term lies left and below.
  const axes = largest.map(i => basis.map(row => (basis[0][i] > 0 ? -1 : 1) * row[i] * Math.sqrt(Math.max(a[i][i], 0))));
  return { points: each.map(i => [axes[0][i], axes[1][i]]), shares: largest.map(i => `${Math.round(100 * a[i][i] / trace)} %`) };
}

/** An order with similar terms beside each other: the leaves of a tree of average linkage, joined at their nearest ends. */
function clustered(cosines) {
  let groups = cosines.map((_, i) => [i]);
  const similarity = (g, h) => sum(g.map(i => sum(h.map(j => cosines[i][j])))) / g.length / h.length;
  const best = (pairs, value) => pairs.reduce((x, y) => value(...y) > value(...x) ? y : x);
  while (groups.length > 1) {
    const [g, h] = best(groups.flatMap((g, i) => groups.slice(i + 1).map(h => [g, h])), similarity);
    const turns = [g, g.toReversed()].flatMap(left => [h, h.toReversed()].map(right => [left, right]));
    const joined = best(turns, (left, right) => cosines[left.at(-1)][right[0]]).flat();
    groups = groups.map(group => group === g ? joined : group).filter(group => group !== h);
  }
  return groups[0];
}

// ---- drawing ----

function paint(element, cosine) {
  element.classList.add('cell');
  element.classList.toggle('below', cosine < 0);
  element.style.setProperty('--v', Math.min(Math.abs(cosine), 1).toFixed(4));
  return element;
}

function drawMatrix() {
  hideTip();
  const { request: { input: terms }, cosines } = result;
  const order = $('order').querySelector(':checked').value === 'typed' ? [...terms.keys()] : clustered(cosines);
  const head = (scope, index) => make('th', { scope, 'data-term': index }, make('span', { title: terms[index] }, terms[index]));
  const cell = (i, j) => paint(make('td', { 'data-i': i, 'data-j': j, tabindex: -1 }, written(cosines[i][j], 2)), cosines[i][j]);
  $('matrix').replaceChildren(
    make('thead', {}, make('tr', {}, make('th'), ...order.map(j => head('col', j)))),
    make('tbody', {}, ...order.map(i => make('tr', {}, head('row', i), ...order.map(j => cell(i, j))))));
  $('matrix').querySelector('td').tabIndex = 0;
  fitMatrix();
}

function fitMatrix() {
  const room = $('matrix').parentElement.clientWidth - $('matrix').querySelector('tbody th').offsetWidth - 4;
  $('matrix').style.setProperty('--cell', `${Math.max(30, Math.min(46, Math.floor(room / result.cosines.length)))}px`);
}

function drawPlane() {
  hideTip();
  const svg = $('plane'), { request: { input: terms }, cosines } = result, { points, shares } = principal(cosines);
  const width = svg.clientWidth, height = Math.round(Math.max(320, Math.min(width * .56, 500)));
  svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
  svg.setAttribute('aria-label', `The terms on their first two principal components, which hold ${shares.join(' and ')} of the variance`);
  const [low, high] = [Math.min, Math.max].map(end => [0, 1].map(axis => end(...points.map(point => point[axis]))));
  const scale = Math.min(.76 * width / (high[0] - low[0] || 1e-9), (height - 72) / (high[1] - low[1] || 1e-9), 1e4); // on both axes
  const place = ([x, y]) => [width / 2 + (x - (low[0] + high[0]) / 2) * scale, height / 2 - (y - (low[1] + high[1]) / 2) * scale];
  const places = points.map(place), [x0, y0] = place([0, 0]);
  const line = ([x1, y1], [x2, y2], kind = '') => make('line', { class: kind, x1, y1, x2, y2 });
  const nearest = i => cosines[i].reduce((best, value, j) => j !== i && !(value <= cosines[i][best]) ? j : best, -1);
  svg.replaceChildren(line([0, y0], [width, y0]), line([x0, 0], [x0, height]),
    make('text', { class: 'axis', x: width - 8, y: y0 - 6, 'text-anchor': 'end' }, `first, ${shares[0]}`),
    make('text', { class: 'axis', x: x0 + 6, y: 16 }, `second, ${shares[1]}`),
    ...places.map((from, i) => line(from, places[nearest(i)], 'near')),
    ...places.map(([cx, cy], i) => make('g', { class: 'point', 'data-i': i, 'data-j': nearest(i) },
      make('circle', { cx, cy, r: 5 }), make('text', {}, shorten(terms[i], 28)))));
  placeLabels(svg, places, width, height);
}

/** Puts each label on the first free side of its point; one that finds none shows only while its point is pointed at. */
function placeLabels(svg, places, width, height) {
  const taken = [...svg.querySelectorAll('circle, .axis')].map(element => element.getBBox());
  const meets = (a, b) => a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;
  svg.querySelectorAll('.point text').forEach((text, i) => {
    const { y: top, width: w, height: h } = text.getBBox(), [x, y] = places[i];
    const sides = [[9, -h / 2], [-w - 9, -h / 2], [-w / 2, -h - 6], [-w / 2, 6], [6, -h - 4], [6, 4], [-w - 6, -h - 4], [-w - 6, 4]];
    const boxes = sides.map(([dx, dy]) => ({ x: Math.max(2, Math.min(x + dx, width - w - 2)), y: y + dy, width: w, height: h }));
    const free = boxes.find(box => box.y > 0 && box.y + h < height && !taken.some(other => meets(box, other)));
    if (free) taken.push(free); else text.classList.add('crowded');
    text.setAttribute('x', (free ?? boxes[0]).x);
    text.setAttribute('y', (free ?? boxes[0]).y - top);
  });
}

// ---- pointing: at a cell of the matrix, or at a point, which stands for its pair with the nearest ----

/** Marks the pair in both figures and says how similar it is. */
function point(target) {
  hideTip();
  const { i, j } = target.dataset, plane = $('plane'), tip = $('tip'), terms = [...new Set([i, j])].map(k => result.request.input[k]);
  const [a, b] = [i, j].map(k => plane.querySelector(`[data-i="${k}"]`));
  const marked = document.querySelectorAll(`tbody [data-term="${i}"], thead [data-term="${j}"], td[data-i="${i}"][data-j="${j}"]`);
  for (const element of [a, b, ...marked]) element.classList.add('on');
  const [x1, y1, x2, y2] = [a, b].flatMap(({ firstChild }) => [firstChild.getAttribute('cx'), firstChild.getAttribute('cy')]);
  plane.querySelector('.point').before(make('line', { class: 'pair', x1, y1, x2, y2 }));
  tip.replaceChildren(...terms.map(term => make('div', {}, term)), make('b', {}, written(result.cosines[i][j], 4)));
  tip.hidden = false;
  const around = target.getBoundingClientRect(), { width, height } = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(6, Math.min((around.left + around.right - width) / 2, document.documentElement.clientWidth - width - 6))}px`;
  tip.style.top = `${around.top > height + 8 ? around.top - height - 8 : around.bottom + 8}px`;
}

function hideTip() {
  $('tip').hidden = true;
  for (const element of document.querySelectorAll('.on')) element.classList.remove('on');
  $('plane').querySelector('.pair')?.remove();
}

function pointOrHide(element) {
  const target = element?.closest('td, .point');
  if (target) point(target); else hideTip();
}

for (const figure of [$('matrix'), $('plane')]) {
  for (const type of ['pointerover', 'click']) figure.addEventListener(type, event => pointOrHide(event.target)); // click: a finger has left by then
  figure.addEventListener('pointerleave', hideTip);
}
$('matrix').addEventListener('focusin', event => pointOrHide(event.target));
$('matrix').addEventListener('focusout', hideTip);
document.addEventListener('scroll', () => pointOrHide($('matrix').querySelector('td:focus')), true);
$('matrix').addEventListener('keydown', event => {
  const [down, right] = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key] ?? [];
  if (event.key === 'Escape') hideTip();
  if (down === undefined) return;
  event.preventDefault();
  const { cellIndex, parentElement: { sectionRowIndex, parentElement: body } } = event.target;
  const next = body.rows[sectionRowIndex + down]?.cells[cellIndex + right];
  if (next?.matches('td')) { event.target.tabIndex = -1; next.tabIndex = 0; next.focus(); }
});

// ---- events ----

$('form').addEventListener('submit', event => { event.preventDefault(); compare(); });
$('terms').addEventListener('keydown', event => { if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) compare(); });
$('key').addEventListener('input', () => { key = $('key').value.trim(); });
$('form').addEventListener('input', ({ target }) => {
  if (target === $('model')) chooseModel();
  showForm();
  if (result && target.matches('select, [type=range]')) compare(); // what is typed waits for the button
});
$('order').addEventListener('change', drawMatrix);
for (const button of document.querySelectorAll('[data-copy]')) button.addEventListener('click', () => {
  getSelection().selectAllChildren($(button.dataset.copy));
  // Deprecated, and the only way on a page without TLS, which has no navigator.clipboard.
  button.textContent = document.execCommand('copy') ? 'Copied' : 'Selected';
  $('status').textContent = `${button.textContent}: ${button.dataset.copy}`;
  setTimeout(() => { button.textContent = 'Copy'; showForm(); }, 2000);
});
let drawn = 0;
new ResizeObserver(([{ contentRect: { width } }]) => {
  if (result && width && width !== drawn) { drawn = width; fitMatrix(); drawPlane(); }
}).observe($('results'));

document.querySelector('.scale').append('−0.4', make('b'), ...Array.from({ length: 15 }, (_, k) => paint(make('i'), (k - 4) / 10)), make('b'), '1');
$('terms').value = EXAMPLE.join('\n');
compare();
