// Conversations, kept in this browser only: IndexedDB, one record a conversation:
// { id, title, changed (ms), messages: [{ role, text, ... }] }.
// Where a browser keeps nothing (some private windows), a map does it until the page is closed.

const database = await open().catch(() => null);
const unkept = new Map();
export const keeps = database !== null;

function open() {
  return new Promise((resolve, reject) => {
    const asked = indexedDB.open('hadal', 1);
    asked.onupgradeneeded = () => {
      // Listing reads this index's keys alone, never the messages.
      asked.result.createObjectStore('conversations', { keyPath: 'id' }).createIndex('list', ['changed', 'title']);
    };
    asked.onsuccess = () => resolve(asked.result);
    asked.onerror = asked.onblocked = () => reject(asked.error);
  });
}

function done(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

function records(mode) {
  return database.transaction('conversations', mode).objectStore('conversations');
}

// [{ id, title, changed }], the latest first.
export async function list() {
  if (!keeps) return [...unkept.values()].sort((a, b) => b.changed - a.changed);
  return new Promise((resolve, reject) => {
    const found = [];
    const cursor = records('readonly').index('list').openKeyCursor(null, 'prev');
    cursor.onerror = () => reject(cursor.error);
    cursor.onsuccess = () => {
      const at = cursor.result;
      if (!at) return resolve(found);
      found.push({ id: at.primaryKey, changed: at.key[0], title: at.key[1] });
      at.continue();
    };
  });
}

export async function read(id) {
  return keeps ? done(records('readonly').get(id)) : unkept.get(id);
}

export async function save(conversation) {
  if (keeps) await done(records('readwrite').put(conversation));
  else unkept.set(conversation.id, conversation);
}

export async function remove(id) {
  if (keeps) await done(records('readwrite').delete(id));
  else unkept.delete(id);
}
