// The server's own HTTP interface, as any client sees it. Addresses are relative to the page's, so that it also works
// behind a proxy that serves it under a longer path.

export class ServerError extends Error {
  // status: HTTP's; 0: none came.
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

const place = 'hadal.key';
let askForKey = async () => null;
let key = stored(sessionStorage) ?? stored(localStorage) ?? '';

function stored(storage) {
  try {
    return storage.getItem(place);
  } catch {
    return null;
  }
}

// ask(wrong): resolves to { key, keep }, or null where nobody wants to give one. wrong: one was refused.
export function whenKeyNeeded(ask) {
  askForKey = ask;
}

export const hasKey = () => key !== '';

export function forgetKey() {
  key = '';
  sessionStorage.removeItem(place);
  localStorage.removeItem(place);
}

// Resolves to a Response that is well; throws ServerError, or AbortError by the signal.
// asks: whether a missing key is worth asking the person.
async function send(path, { body, signal, asks = true } = {}) {
  for (;;) {
    const used = key;
    const headers = {};
    if (used) headers.Authorization = `Bearer ${used}`;
    if (body) headers['Content-Type'] = 'application/json';
    let response;
    try {
      response = await fetch(path, { method: body ? 'POST' : 'GET', headers, body, signal, cache: 'no-store' });
    } catch (problem) {
      if (problem.name === 'AbortError') throw problem;
      throw new ServerError(0, '');
    }
    if (response.ok) return response;
    if (response.status !== 401 || !asks) throw new ServerError(response.status, await reason(response));
    await newKey(used);
    signal?.throwIfAborted();
  }
}

let asking = null;

// Several requests may be refused at once: the person is asked once.
async function newKey(refused) {
  if (key !== refused) return;
  asking ??= askForKey(refused !== '').finally(() => { asking = null; });
  const given = await asking;
  if (!given) throw new ServerError(401, '');
  forgetKey();
  key = given.key;
  (given.keep ? localStorage : sessionStorage).setItem(place, key);
}

async function reason(response) {
  try {
    return (await response.json()).error.message ?? '';
  } catch {
    return '';
  }
}

// [{ id, ... }]
export async function models() {
  return (await (await send('v1/models')).json()).data;
}

// null: this server has none.
export async function status() {
  try {
    return await (await send('api/hadal/status', { asks: false })).json();
  } catch (problem) {
    if (problem instanceof ServerError && problem.status === 404) return null;
    throw problem;
  }
}

// Yields the objects of a streamed chat completion.
export async function* chat(request, signal) {
  const body = JSON.stringify({ ...request, stream: true, stream_options: { include_usage: true } });
  const response = await send('v1/chat/completions', { body, signal });
  for await (const data of events(response.body)) {
    if (data === '[DONE]') return;
    const part = JSON.parse(data);
    if (part.error) throw new ServerError(response.status, part.error.message);
    yield part;
  }
  throw new ServerError(0, 'cut');
}

// The data of server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html).
async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const lines = (text + value).split('\n');
      text = lines.pop();
      for (const line of lines) {
        if (line.startsWith('data:')) yield line.slice(5).trim();
      }
    }
  } catch (problem) {
    if (problem.name === 'AbortError') throw problem;
    throw new ServerError(0, 'cut');
  } finally {
    reader.cancel().catch(() => {});
  }
}
