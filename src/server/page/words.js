// Every word that a person sees: [English, Chinese].
const table = {
  skip: ['Skip to the message field', '跳到输入框'],
  conversations: ['Conversations', '对话列表'],
  conversation: ['Conversation', '对话'],
  newChat: ['New chat', '新对话'],
  openMenu: ['Open the list of conversations', '打开对话列表'],
  closeMenu: ['Close the list', '关闭列表'],
  remove: ['Delete', '删除'],
  removed: ['Deleted.', '已删除。'],
  undo: ['Undo', '撤销'],
  model: ['Model', '模型'],
  noModel: ['No model', '没有模型'],

  welcome: ['What is on your mind?', '今天想聊点什么？'],
  private: ['Conversations are kept in this browser alone. No one else sees them.', '对话只保存在此浏览器中，不会发送给任何第三方。'],
  example1: ['Explain how a rainbow forms', '解释彩虹是怎样形成的'],
  example2: ['Write a Python function that checks for primes', '用 Python 写一个判断质数的函数'],
  example3: ['Prove that √2 is irrational', '证明 √2 是无理数'],

  ask: ['Ask anything', '输入您的问题'],
  send: ['Send (Enter)', '发送（Enter）'],
  stop: ['Stop (Esc)', '停止（Esc）'],
  toEnd: ['To the latest message', '回到最新消息'],

  you: ['You', '您'],
  assistant: ['Answer', '回答'],
  waiting: ['Waiting for the first token', '等待第一个词元'],
  thinkingNow: ['Thinking … {seconds} s', '思考中……{seconds} 秒'],
  thought: ['Thought for {seconds} s', '思考了 {seconds} 秒'],
  copy: ['Copy', '复制'],
  copied: ['Copied', '已复制'],
  edit: ['Edit', '编辑'],
  again: ['Answer again', '重新回答'],
  cancel: ['Cancel', '取消'],
  sendEdited: ['Send', '发送'],
  stopped: ['Stopped', '已停止'],
  cutShort: ['Ended by the token limit', '达到词元上限，回答被截断'],
  figures: ['{tokens} tokens · {rate} tokens/s · first after {first} s', '{tokens} 个词元 · 每秒 {rate} 个 · 首个用时 {first} 秒'],

  meters: ['Live figures', '实时数据'],
  rate: ['tokens/s', '词元/秒'],
  first: ['first token', '首词元'],
  kv: ['KV cache', 'KV 缓存'],
  running: ['running', '运行中'],
  queue: ['waiting', '排队'],
  rateHint: ['Speed of the latest answer', '最近一次回答的速度'],
  firstHint: ['Time from sending to the first token of the latest answer', '最近一次回答从发送到首个词元的时间'],
  kvHint: ['How much of the key-value cache is held by running requests', '正在运行的请求占用的键值缓存比例'],
  runningHint: ['Requests that the server is answering', '服务器正在回答的请求数'],
  queueHint: ['Requests that wait for their turn', '等待处理的请求数'],

  settings: ['Settings', '设置'],
  close: ['Close', '关闭'],
  done: ['Done', '完成'],
  language: ['Language', '语言'],
  byBrowser: ['As the browser', '跟随浏览器'],
  look: ['Appearance', '外观'],
  bySystem: ['As the system', '跟随系统'],
  light: ['Light', '浅色'],
  dark: ['Dark', '深色'],
  answers: ['Answers', '回答'],
  system: ['System prompt', '系统提示词'],
  systemHint: ['What the model should know or be, before every conversation', '每次对话开始前告诉模型的内容'],
  byModel: ['Model’s default', '模型默认'],
  thinking: ['Thinking', '思考'],
  on: ['On', '开启'],
  off: ['Off', '关闭'],
  temperature: ['Temperature', '温度'],
  maxTokens: ['Longest answer, in tokens', '回答的最大词元数'],
  seed: ['Seed', '随机种子'],
  random: ['Random', '随机'],
  forgetKey: ['Forget the key', '清除密钥'],
  deleteAll: ['Delete all conversations', '删除所有对话'],

  keyTitle: ['This server asks for a key', '此服务器需要密钥'],
  keyText: ['Whoever runs the server makes one with “hadal key add NAME”.', '服务器管理员可用“hadal key add 名称”创建密钥。'],
  keyWrong: ['The server does not accept this key.', '服务器不接受此密钥。'],
  key: ['Key', '密钥'],
  keyKeep: ['Remember it in this browser', '在此浏览器中记住'],
  continue: ['Continue', '继续'],

  noAnswer: ['The server cannot be reached.', '无法连接服务器。'],
  cutOff: ['The connection ended before the answer did.', '回答完成之前连接已断开。'],
  noKey: ['A key is needed to ask this server.', '需要密钥才能提问。'],
  failed: ['The server refused (status {status}).', '服务器拒绝了请求（状态 {status}）。'],
  notKept: ['This browser keeps nothing: conversations end with this page.', '此浏览器无法保存数据：关闭页面后对话将丢失。'],
};

const languages = ['en', 'zh'];
let column = 0;

// tag: "en", "zh"; "": the browser's first language that we have.
export function setLanguage(tag) {
  const wanted = tag ? [tag] : navigator.languages.map((name) => name.slice(0, 2).toLowerCase());
  const chosen = wanted.find((name) => languages.includes(name)) ?? 'en';
  column = languages.indexOf(chosen);
  document.documentElement.lang = chosen === 'zh' ? 'zh-Hans' : 'en';
}

export function say(word, values = {}) {
  return table[word][column].replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

// Fills in what the elements in root ask for: data-word: text; data-label: name and tooltip; data-hint: placeholder;
// data-tip: tooltip.
export function translate(root) {
  for (const element of [root, ...root.querySelectorAll('[data-word], [data-label], [data-hint], [data-tip]')]) {
    const { word, label, hint, tip } = element.dataset;
    if (word) element.textContent = say(word);
    if (label) {
      element.ariaLabel = say(label);
      if (element.matches('button')) element.title = say(label);
    }
    if (hint) element.placeholder = say(hint);
    if (tip) element.title = say(tip);
  }
}
