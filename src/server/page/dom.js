// Small helpers for building elements.
import { translate } from './words.js';

export const find = (id) => document.getElementById(id);

// Attributes by name; "onclick" and the like are listeners; false leaves one out.
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (value !== false) element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children);
  if (element.dataset.icon) element.prepend(icon(element.dataset.icon));
  translate(element);
  return element;
}

export function button(iconName, label, onclick) {
  return make('button', { type: 'button', class: 'quiet', 'data-icon': iconName, 'data-label': label, onclick });
}

const paths = {
  plus: 'M12 5v14M5 12h14',
  menu: 'M4 7h16M4 12h16M4 17h16',
  close: 'M6 6l12 12M18 6L6 18',
  sliders: 'M4 7h9M19 7h1M4 17h1M11 17h9M16 4.5v5M8 14.5v5',
  up: 'M12 19V5M6 11l6-6 6 6',
  down: 'M12 5v14M6 13l6 6 6-6',
  stop: 'M8 8h8v8H8z',
  copy: 'M9 9h10v10H9zM5 15V5h10',
  check: 'M5 12.5l4.5 4.5L19 7.5',
  edit: 'M4 20h4L19 9l-4-4L4 16zM13 7l4 4',
  again: 'M19 12a7 7 0 1 1-2-5M19 3v5h-5',
  trash: 'M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13',
};

export function icon(name) {
  const names = 'http://www.w3.org/2000/svg';
  const drawing = document.createElementNS(names, 'svg');
  drawing.setAttribute('viewBox', '0 0 24 24');
  drawing.setAttribute('class', 'icon');
  drawing.setAttribute('aria-hidden', 'true');
  const path = document.createElementNS(names, 'path');
  path.setAttribute('d', paths[name]);
  drawing.append(path);
  return drawing;
}

// The clipboard's own interface is there for https and this machine only.
export async function copy(text, from) {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(text);
  } else {
    const field = make('textarea', { class: 'unseen' });
    field.value = text;
    from.after(field);
    field.select();
    document.execCommand('copy');
    field.remove();
    from.focus();
  }
  from.replaceChildren(icon('check'));
  from.dataset.label = 'copied';
  translate(from);
  setTimeout(() => {
    from.replaceChildren(icon('copy'));
    from.dataset.label = 'copy';
    translate(from);
  }, 1500);
}
