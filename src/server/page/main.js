// The page: conversations on the left, one of them open, a field to ask.
import { answer } from './answer.js';
import * as api from './api.js';
import { button, find, icon, make } from './dom.js';
import { makeMeters, meter, watchServer } from './meters.js';
import { chosenSampling, choose, loadSettings, settings } from './settings.js';
import * as store from './store.js';
import { addMessage, isSend, sentence, showConversation, update } from './view.js';
import { say, translate } from './words.js';

let open = fresh();
const answering = new Map(); // a conversation's id -> { conversation, abort }

// --- Conversations ---

function fresh() {
  const random = crypto.getRandomValues(new Uint32Array(2));
  return { id: [Date.now(), ...random].map((part) => part.toString(36)).join('-'), title: '', changed: 0, messages: [] };
}

async function keep(conversation) {
  conversation.changed = Date.now();
  conversation.title = conversation.messages[0].text.replace(/\s+/g, ' ').slice(0, 80);
  await store.save(conversation);
}

function show(conversation) {
  open = conversation;
  showConversation(open.messages, does);
  showPlace();
  follow = true;
  scrollToEnd();
  openSide(false);
  focusField();
}

function showPlace() {
  document.title = open.title ? `${open.title} · hadal` : 'hadal';
  location.replace(`#${open.messages.length ? open.id : ''}`);
  showAsking();
}

async function openById(id) {
  const conversation = answering.get(id)?.conversation ?? await store.read(id) ?? fresh();
  if (!answering.has(id)) {
    for (const message of conversation.messages) {
      if (message.role === 'assistant') message.ended ||= 'stopped'; // the page was left meanwhile
    }
  }
  show(conversation);
  listConversations();
}

async function listConversations() {
  const items = (await store.list()).map(({ id, title }) => {
    const current = id === open.id && 'true';
    return make('li', { class: answering.has(id) ? 'going' : '' },
      make('button', { type: 'button', class: 'open', 'aria-current': current, onclick: () => openById(id) }, title),
      button('trash', 'remove', () => removeConversations([id])));
  });
  find('conversations').replaceChildren(...items);
}

async function removeConversations(ids) {
  const removed = [];
  for (const id of ids) {
    answering.get(id)?.abort.abort();
    const conversation = answering.get(id)?.conversation ?? await store.read(id);
    if (conversation) removed.push(conversation); // else another tab was faster
    answering.delete(id);
    await store.remove(id);
  }
  if (ids.includes(open.id)) show(fresh());
  await listConversations();
  toast(say('removed'), say('undo'), async () => {
    for (const conversation of removed) await store.save(conversation);
    await listConversations();
  });
}

// --- Asking and answering ---

const does = {
  edit(message, text) {
    answering.get(open.id)?.abort.abort();
    open.messages.length = open.messages.indexOf(message);
    open.messages.push({ role: 'user', text });
    showConversation(open.messages, does);
    answerLast(open);
  },
  again(message) {
    answering.get(open.id)?.abort.abort();
    open.messages.length = open.messages.indexOf(message);
    showConversation(open.messages, does);
    answerLast(open);
  },
};

async function ask() {
  const text = find('ask').value.trim();
  if (!text || answering.has(open.id)) return;
  if (!settings.model) await loadModels(); // no key was given yet
  if (!settings.model) return;
  find('ask').value = '';
  fitField();
  const message = { role: 'user', text };
  open.messages.push(message);
  addMessage(message, does);
  answerLast(open);
}

const saveEveryMs = 1000;

async function answerLast(conversation) {
  const abort = new AbortController();
  const message = { role: 'assistant', text: '', thinking: '', model: settings.model };
  const request = { model: settings.model, messages: requestMessages(conversation), ...chosenSampling() };
  conversation.messages.push(message);
  addMessage(message, does);
  const mine = { conversation, abort };
  answering.set(conversation.id, mine);
  const kept = keep(conversation);
  follow = true;
  showPlace();
  scrollToEnd();
  await kept;
  listConversations();

  let saved = Date.now();
  const draw = drawing(message);
  await answer(request, message, abort.signal, () => {
    draw();
    if (Date.now() - saved < saveEveryMs || answering.get(conversation.id) !== mine) return;
    saved = Date.now();
    store.save(conversation);
  });
  if (answering.get(conversation.id) !== mine) return; // deleted, or asked anew
  answering.delete(conversation.id);
  await keep(conversation);
  showAsking();
  listConversations();
}

function requestMessages({ messages }) {
  const said = messages.filter(({ text }) => text).map(({ role, text }) => ({ role, content: text }));
  return settings.system ? [{ role: 'system', content: settings.system }, ...said] : said;
}

// Draws at most once a frame, and rests longer than it draws, so that fast answers leave the page quick.
function drawing(message) {
  let waits = false;
  let rest = 0;
  return () => {
    if (waits) return;
    waits = true;
    setTimeout(() => requestAnimationFrame(() => {
      waits = false;
      const began = performance.now();
      update(message);
      meter(message);
      scrollToEnd();
      rest = 3 * (performance.now() - began);
    }), rest);
  };
}

function showAsking() {
  const busy = answering.has(open.id);
  find('send').hidden = busy;
  find('stop').hidden = !busy;
}

const stop = () => answering.get(open.id)?.abort.abort();

// --- The field ---

// With a finger, focus would bring up the keyboard before anybody asks for it.
function focusField() {
  if (matchMedia('(hover: hover)').matches) find('ask').focus();
}

function fitField() {
  const field = find('ask');
  field.style.height = 'auto';
  field.style.height = `${field.scrollHeight}px`;
}

find('composer').addEventListener('submit', (event) => {
  event.preventDefault();
  ask();
});
find('ask').addEventListener('input', fitField);
find('ask').addEventListener('keydown', (event) => {
  if (!isSend(event)) return;
  event.preventDefault();
  ask();
});
find('stop').addEventListener('click', stop);
document.addEventListener('keydown', (event) => {
  if (event.key !== 'Escape' || document.querySelector('dialog[open]')) return;
  if (document.body.classList.contains('side-open')) openSide(false);
  else stop();
});

function showExamples() {
  find('examples').replaceChildren(...['example1', 'example2', 'example3'].map((name) => make('button', {
    type: 'button',
    class: 'line',
    'data-word': name,
    onclick() {
      find('ask').value = say(name);
      ask();
    },
  })));
}

// --- Scrolling: the end stays in sight until somebody scrolls away from it ---

let follow = true;
const nearPixels = 60;

function scrollToEnd() {
  if (follow) find('scroller').scrollTop = find('scroller').scrollHeight;
}

find('scroller').addEventListener('scroll', ({ target }) => {
  follow = target.scrollHeight - target.scrollTop - target.clientHeight < nearPixels;
  find('to-end').hidden = follow;
}, { passive: true });
find('to-end').addEventListener('click', () => {
  follow = true;
  scrollToEnd();
});

// --- The side, a drawer on a phone ---

function openSide(is) {
  document.body.classList.toggle('side-open', is);
  find('open-side').ariaExpanded = String(is);
  if (is) find('close-side').focus();
}

find('open-side').addEventListener('click', () => openSide(true));
find('close-side').addEventListener('click', () => openSide(false));
find('scrim').addEventListener('click', () => openSide(false));
for (const name of ['new', 'new-phone']) {
  find(name).addEventListener('click', () => {
    show(fresh());
    listConversations();
  });
}

// --- Settings ---

function retranslate() {
  translate(document.body);
  showConversation(open.messages, does);
  listConversations();
}

const form = find('settings').querySelector('form');

find('open-settings').addEventListener('click', () => {
  for (const field of form.elements) {
    if (field.name) field.value = settings[field.name];
  }
  find('forget-key').hidden = !api.hasKey();
  find('settings').showModal();
});
form.addEventListener('change', ({ target }) => {
  if (!target.checkValidity()) return target.reportValidity();
  choose(target.name, target.value);
  if (target.name === 'language') retranslate();
});
find('forget-key').addEventListener('click', () => {
  api.forgetKey();
  find('forget-key').hidden = true;
});
find('delete-all').addEventListener('click', async () => {
  find('settings').close();
  removeConversations((await store.list()).map(({ id }) => id));
});

// --- The key ---

api.whenKeyNeeded((wrong) => new Promise((resolve) => {
  const dialog = find('key');
  find('key-wrong').hidden = !wrong;
  find('key-text').value = '';
  dialog.returnValue = '';
  dialog.addEventListener('close', () => {
    const key = find('key-text').value.trim();
    find('key-text').value = '';
    resolve(dialog.returnValue && key ? { key, keep: find('key-keep').checked } : null);
  }, { once: true });
  dialog.showModal();
}));

// --- Notes ---

let toastEnds;

function toast(text, action, act) {
  const undo = make('button', { type: 'button', class: 'plain' }, action);
  undo.addEventListener('click', () => {
    find('toast').hidden = true;
    act();
  });
  find('toast').replaceChildren(text, undo);
  find('toast').hidden = false;
  clearTimeout(toastEnds);
  toastEnds = setTimeout(() => { find('toast').hidden = true; }, 8000);
}

function trouble(text) {
  find('trouble').hidden = !text;
  find('trouble').textContent = text;
}

// --- Models ---

const askAgainMs = 3000;

async function loadModels() {
  try {
    const names = (await api.models()).map(({ id }) => id);
    find('model').replaceChildren(...names.map((name) => make('option', { value: name }, name)));
    if (!names.includes(settings.model)) settings.model = names[0] ?? '';
    find('model').value = settings.model;
    trouble(names.length ? '' : say('noModel'));
  } catch (problem) {
    trouble(sentence({ status: problem.status ?? 0, text: problem.message }));
    if (problem.status !== 401) setTimeout(loadModels, askAgainMs);
  }
}

find('model').addEventListener('change', ({ target }) => choose('model', target.value));

// --- Start ---

loadSettings();
document.querySelectorAll('[data-icon]').forEach((element) => element.prepend(icon(element.dataset.icon)));
showExamples();
makeMeters();
translate(document.body);
if (!store.keeps) trouble(say('notKept'));
await openById(location.hash.slice(1));
await loadModels();
watchServer();
