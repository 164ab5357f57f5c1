// Messages on the page.
import { button, copy, find, make } from './dom.js';
import { showMarkdown } from './markdown.js';
import { say } from './words.js';

// message -> what shows it.
const shown = new WeakMap();

// does: { edit(message, text), again(message) }
export function showConversation(messages, does) {
  find('log').replaceChildren(...messages.map((message) => element(message, does)));
  find('welcome').hidden = messages.length > 0;
}

export function addMessage(message, does) {
  find('welcome').hidden = true;
  find('log').append(element(message, does));
}

function element(message, does) {
  return message.role === 'user' ? question(message, does) : answer(message, does);
}

function question(message, does) {
  const body = make('div', { class: 'body' }, message.text);
  const copyButton = button('copy', 'copy', () => copy(message.text, copyButton));
  const editButton = button('edit', 'edit', () => edit(article, message, does));
  const article = make('article', { class: 'question', 'data-label': 'you' }, body,
    make('div', { class: 'actions' }, copyButton, editButton));
  return article;
}

function edit(article, message, does) {
  const was = [...article.children];
  const close = () => {
    article.replaceChildren(...was);
    article.querySelector('.actions button:last-child').focus();
  };
  const send = (event) => {
    event.preventDefault();
    if (field.value.trim()) does.edit(message, field.value.trim());
  };
  const field = make('textarea', { 'data-label': 'edit' });
  field.value = message.text;
  field.addEventListener('keydown', (event) => {
    if (isSend(event)) send(event);
    if (event.key !== 'Escape') return;
    event.stopPropagation(); // elsewhere it stops an answer
    close();
  });
  article.replaceChildren(make('form', { class: 'edit', onsubmit: send }, field,
    make('div', {}, make('button', { type: 'button', class: 'plain', 'data-word': 'cancel', onclick: close }),
      make('button', { class: 'main', 'data-word': 'sendEdited' }))));
  field.focus();
}

// Enter while an input method composes picks a word; it sends nothing. (Safari says so by the key code alone.)
export function isSend(event) {
  return event.key === 'Enter' && !event.shiftKey && !event.isComposing && event.keyCode !== 229;
}

function answer(message, does) {
  const parts = {
    summary: make('summary'),
    thinking: make('div', { class: 'prose' }),
    text: make('div', { class: 'prose' }),
    waiting: make('div', { class: 'waiting', role: 'img', 'data-label': 'waiting' }),
    problem: make('p', { class: 'problem' }),
    figures: make('span', { class: 'figures' }),
  };
  parts.details = make('details', {}, parts.summary, parts.thinking);
  parts.details.addEventListener('toggle', () => update(message));
  const copyButton = button('copy', 'copy', () => copy(message.text, copyButton));
  parts.actions = make('div', { class: 'actions' }, copyButton, button('again', 'again', () => does.again(message)), parts.figures);
  parts.article = make('article', { class: 'answer', 'data-label': 'assistant' }, parts.details, parts.text, parts.waiting,
    parts.problem, parts.actions);
  shown.set(message, parts);
  update(message);
  return parts.article;
}

// Shows what message says now.
export function update(message) {
  const parts = shown.get(message);
  if (!parts) return;
  const going = !message.ended;
  parts.details.hidden = !message.thinking;
  if (message.thinking) {
    const still = going && !message.text;
    parts.summary.textContent = say(still ? 'thinkingNow' : 'thought', { seconds: message.thoughtSeconds.toFixed(message.thoughtSeconds < 10 ? 1 : 0) });
    parts.summary.classList.toggle('going', still);
    if (parts.details.open) showMarkdown(parts.thinking, message.thinking);
  }
  showMarkdown(parts.text, message.text);
  parts.waiting.hidden = !going || Boolean(message.text || message.thinking);
  parts.article.ariaBusy = String(going);
  parts.actions.hidden = going;
  parts.actions.firstChild.hidden = !message.text;
  const problem = problemOf(message);
  parts.problem.hidden = !problem;
  parts.problem.textContent = problem;
  parts.figures.textContent = message.rate ? figures(message) : '';
}

function figures({ tokens, rate, firstSeconds }) {
  return say('figures', { tokens, rate: rate.toFixed(1), first: firstSeconds.toFixed(2) });
}

function problemOf({ ended, problem }) {
  if (ended === 'stopped') return say('stopped');
  if (ended === 'length') return say('cutShort');
  return problem ? sentence(problem) : '';
}

// What went wrong, in words. The server's own sentence, where it gave one, says more than ours.
export function sentence({ status, text }) {
  if (status === 401) return say('noKey');
  if (text === 'cut') return say('cutOff');
  if (status === 0) return say('noAnswer');
  return text || say('failed', { status });
}
