// Markdown from a model, which is hostile text. marked reads it; its tokens become elements here, one by one, by
// createElement: no HTML is made, so there is none to clean, and what the model wrote as HTML is shown as it was
// written. Formulas and code are filled in afterwards; their libraries are loaded when first needed.
import marked from './marked.js';
import { button, copy, make } from './dom.js';

// Formulas in the delimiters that models use. A single dollar is one only where it cannot be money.
const displayBegins = /\$\$|\\\[|\\begin\{/;
const display = /^(?:\$\$([^]+?)\$\$|\\\[([^]+?)\\\]|(\\begin\{((?:equation|align|alignat|gather)\*?)\}[^]+?\\end\{\4\}))/;
const inlineBegins = /\$|\\\(/;
const inline = /^(?:\\\(([^]+?)\\\)|\$((?:[^\s$\\]|\\[^])(?:(?:[^$\\\n]|\\[^\n])*(?:[^\s$\\]|\\[^\s]))?)\$(?![\d$]))/;

function formula(name, level, begins, rule, isDisplay) {
  return {
    name,
    level,
    start: (source) => source.match(begins)?.index,
    tokenizer(source) {
      const found = rule.exec(source);
      if (!found) return undefined;
      return { type: 'formula', raw: found[0], isDisplay, tex: found.slice(1, 4).find((part) => part !== undefined) };
    },
  };
}

marked.use({
  mangle: false,
  extensions: [
    formula('displayBlock', 'block', displayBegins, display, true),
    formula('displayInline', 'inline', displayBegins, display, true),
    formula('inline', 'inline', inlineBegins, inline, false),
  ],
});

// Shows text in element, whose children are one a block of the text: what stayed the same is left alone, so that in a
// long answer only the last block is made anew for each token.
export function showMarkdown(element, text) {
  const blocks = split(text);
  const were = element.blocks ?? [];
  let same = 0;
  while (same < blocks.length && were[same] === blocks[same].raw) ++same;
  while (element.childElementCount > same) element.lastElementChild.remove();
  for (const block of blocks.slice(same)) element.append(make('div', { class: 'block' }, ...built(block)));
  element.blocks = blocks.map(({ raw }) => raw);
}

function split(text) {
  try {
    return marked.lexer(text).filter(({ type }) => type !== 'space' && type !== 'def');
  } catch {
    return [{ type: 'unread', raw: text }]; // nested beyond what the parser can take
  }
}

const depthMax = 14; // deeper is nobody's meaning, does not fit a phone, and is laid out by recursion

function built(token, depth = 0) {
  if (depth > depthMax) return [token.raw];
  const make1 = makers[token.type];
  return make1 ? [make1(token, depth + 1)] : [make('p', { class: 'raw' }, token.raw)];
}

const all = (tokens, depth) => tokens.flatMap((token) => built(token, depth));

const makers = {
  // Blocks
  paragraph: ({ tokens }, depth) => make('p', {}, ...spans(tokens, depth)),
  heading: ({ tokens, depth: level }, depth) => make(`h${level}`, {}, ...spans(tokens, depth)),
  blockquote: ({ tokens }, depth) => make('blockquote', {}, ...all(tokens, depth)),
  hr: () => make('hr'),
  space: () => '',
  def: () => '',
  list: ({ ordered, start, items }, depth) => make(ordered ? 'ol' : 'ul', { start: ordered && start !== 1 && start }, ...items.map(
    ({ task, checked, tokens }) => make('li', {}, task ? (checked ? '☑ ' : '☐ ') : '', ...all(tokens, depth)),
  )),
  table: ({ header, align, rows }, depth) => {
    const row = (cells, tag) => make('tr', {}, ...cells.map(({ tokens }, at) => make(tag, { align: align[at] ?? false }, ...spans(tokens, depth))));
    return make('div', { class: 'wide', tabindex: '0' }, make('table', {}, make('thead', {}, row(header, 'th')),
      make('tbody', {}, ...rows.map((cells) => row(cells, 'td')))));
  },
  code: ({ text, lang }) => codeBlock(text, /^[\w+#.-]*/.exec(lang ?? '')[0].toLowerCase()),
  formula: (token) => formulaElement(token),
  // Spans
  text: ({ text, tokens }, depth) => (tokens ? make('span', {}, ...spans(tokens, depth)) : plain(text)),
  escape: ({ text }) => plain(text),
  strong: ({ tokens }, depth) => make('strong', {}, ...spans(tokens, depth)),
  em: ({ tokens }, depth) => make('em', {}, ...spans(tokens, depth)),
  del: ({ tokens }, depth) => make('del', {}, ...spans(tokens, depth)),
  codespan: ({ text }) => make('code', {}, plain(text)),
  br: () => make('br'),
  link: ({ href, tokens }, depth) => link(plain(href), spans(tokens, depth)),
  // An image would be a request to somebody else's server, and tell it what was said here.
  image: ({ href, text }) => link(plain(href), [plain(text) || href]),
};

// A line of text. Of HTML only <br> and the four tags without attributes are taken for what they are.
function spans(tokens, depth) {
  const top = document.createDocumentFragment();
  const inside = [top];
  for (const token of tokens) {
    const [, slash, tag] = (token.type === 'html' && /^<(\/?)(br|sub|sup|kbd|u)\s*\/?>$/i.exec(token.raw)) || [];
    const name = tag?.toLowerCase();
    if (name === 'br') {
      inside.at(-1).append(make('br'));
    } else if (name && !slash && inside.length < depthMax) {
      inside.push(make(name));
      inside.at(-2).append(inside.at(-1));
    } else if (slash && inside.at(-1).localName === name) {
      inside.pop();
    } else {
      inside.at(-1).append(...(token.type === 'html' ? [token.raw] : built(token, depth)));
    }
  }
  return [top];
}

function link(address, content) {
  if (!/^(?:https?|mailto):/i.test(address)) return make('span', {}, ...content);
  return make('a', { href: address, target: '_blank', rel: 'noopener noreferrer' }, ...content);
}

const entities = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: '\u00a0', copy: '©', times: '×', rarr: '→', larr: '←', le: '≤', ge: '≥', ne: '≠', hellip: '…', mdash: '—', ndash: '–' };

// marked escapes text for HTML; entities that were written are taken for what they mean.
function plain(text) {
  return text.replace(/&(?:#(\d{1,7})|#x([\da-f]{1,6})|(\w+));/gi, (whole, decimal, hexadecimal, name) => {
    if (name) return entities[name] ?? whole;
    const code = decimal ? Number(decimal) : parseInt(hexadecimal, 16);
    return code <= 0x10ffff ? String.fromCodePoint(code) : whole;
  });
}

const libraries = {};

// Calls use(library) once it is there: at once if it is.
function withLibrary(name, use) {
  if (libraries[name]) return use(libraries[name]);
  return import(`./${name}.js`).then((library) => use(libraries[name] = library.default), () => {});
}

const formulaLimits = { throwOnError: true, strict: 'ignore', trust: false, output: 'html', maxSize: 30, maxExpand: 300 };
const formulaLengthMax = 10_000;
const formulaDepthMax = 40;

// KaTeX builds elements and sets styles through their objects, which a policy without inline styles allows.
function formulaElement({ tex, raw, isDisplay }) {
  const element = make('span', { class: isDisplay ? 'formula display' : 'formula' }, make('code', {}, tex));
  if (tex.length > formulaLengthMax || bracesDepth(tex) > formulaDepthMax) return element;
  if (!libraries.formulas) useFormulaStyle();
  withLibrary('formulas', (katex) => {
    try {
      const made = make('span', { role: 'math', 'aria-label': tex, 'data-tex': raw });
      katex.render(tex, made, { ...formulaLimits, displayMode: isDisplay });
      element.replaceChildren(made);
    } catch {
      // Not TeX, or not all of it yet: the text stays.
    }
  });
  return element;
}

function bracesDepth(tex) {
  let depth = 0;
  let deepest = 0;
  for (const sign of tex) {
    if (sign === '{') deepest = Math.max(deepest, ++depth);
    if (sign === '}') --depth;
  }
  return deepest;
}

function useFormulaStyle() {
  const address = 'page/formulas.css';
  if (!document.querySelector(`link[href="${address}"]`)) document.head.append(make('link', { rel: 'stylesheet', href: address }));
}

const codeLengthMax = 50_000;

function codeBlock(text, language) {
  const code = make('code', {}, text);
  const copyButton = button('copy', 'copy', () => copy(text, copyButton));
  if (language && text.length <= codeLengthMax) {
    withLibrary('highlight', (highlight) => {
      if (highlight.getLanguage(language)) code.replaceChildren(highlighted(highlight.highlight(language, text, true).value));
    });
  }
  return make('div', { class: 'code' }, make('div', {}, make('span', {}, language), copyButton),
    make('pre', { tabindex: '0' }, code)); // focus: so that the keyboard can scroll it
}

// highlight.js makes HTML of nothing but <span class="...">, </span> and escaped text.
function highlighted(html) {
  const top = document.createDocumentFragment();
  const inside = [top];
  for (const part of html.split(/(<span class="[\w -]*">|<\/span>)/)) {
    if (part === '</span>') {
      if (inside.length > 1) inside.pop();
    } else if (part.startsWith('<span class="')) {
      inside.push(make('span', { class: part.slice(13, -2) }));
      inside.at(-2).append(inside.at(-1));
    } else {
      inside.at(-1).append(plain(part));
    }
  }
  return top;
}
