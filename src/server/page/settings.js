// What a person has chosen, kept in this browser.
import { setLanguage } from './words.js';

const place = 'hadal.settings';
const defaults = {
  language: '', look: '', model: '', system: '', thinking: '',
  temperature: '', top_p: '', top_k: '', max_tokens: '', seed: '',
};

// "" means: not chosen.
export const settings = { ...defaults };

export function loadSettings() {
  try {
    Object.assign(settings, JSON.parse(localStorage.getItem(place)));
  } catch {
    Object.assign(settings, defaults); // no storage, or not ours: as on the first day
  }
  apply();
}

export function choose(name, value) {
  settings[name] = value;
  try {
    localStorage.setItem(place, JSON.stringify(settings));
  } catch {
    // Without storage a choice lasts as long as the page.
  }
  apply();
}

function apply() {
  setLanguage(settings.language);
  document.documentElement.dataset.look = settings.look;
}

// The request's fields that somebody chose; the server knows the model's own recommendations.
export function chosenSampling() {
  const fields = {};
  for (const name of ['temperature', 'top_p', 'top_k', 'max_tokens', 'seed']) {
    if (settings[name] !== '') fields[name] = Number(settings[name]);
  }
  if (settings.thinking) fields.enable_thinking = settings.thinking === 'on';
  return fields;
}
