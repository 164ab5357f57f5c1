// The live figures under the message field: speed and first token as this page saw them, the rest as the server says.
import * as api from './api.js';
import { find, make } from './dom.js';

const everyMs = 2000;
const names = ['rate', 'first', 'kv', 'running', 'queue'];

// Each is hidden until it is known.
export function makeMeters() {
  find('meters').append(...names.map((name) => make('div', { id: `meter-${name}`, 'data-tip': `${name}Hint`, hidden: true },
    make('dd'), make('dt', { 'data-word': name }))));
}

function show(name, value) {
  const meter = find(`meter-${name}`);
  meter.hidden = false;
  meter.firstChild.textContent = value;
}

export function meter(message) {
  if (message.rate) show('rate', message.rate.toFixed(1));
  if (message.firstSeconds) show('first', `${message.firstSeconds.toFixed(2)} s`);
}

// Asks the server as long as the page is seen; ends for good where it has no such figures.
export async function watchServer() {
  for (;;) {
    if (!document.hidden) {
      try {
        const status = await api.status();
        if (!status) return;
        showStatus(status);
      } catch {
        // A server that is away is told of where something is asked of it.
      }
    }
    await new Promise((resolve) => { setTimeout(resolve, everyMs); });
  }
}

function showStatus({ models }) {
  const sum = (name) => models.reduce((total, model) => total + (model[name] ?? 0), 0);
  const blocks = sum('kv_blocks_total');
  if (blocks) show('kv', `${Math.round((100 * sum('kv_blocks_held')) / blocks)} %`);
  show('running', sum('requests_running'));
  show('queue', sum('requests_waiting'));
}
