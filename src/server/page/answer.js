// One answer: from the request to the last token, with its times.
import * as api from './api.js';

// Fills in message as the answer comes and calls changed() each time:
//   text, thinking, thoughtSeconds, tokens, firstSeconds, rate (tokens/s), ended ("stop", "length", "stopped", "error"),
//   problem ({ status, text }).
export async function answer(request, message, signal, changed) {
  const started = performance.now();
  const seconds = (from, to) => (to - from) / 1000;
  let first = 0;
  let last = 0;
  let parts = 0;
  const came = () => {
    last = performance.now();
    first ||= last;
    ++parts;
    message.firstSeconds = seconds(started, first);
    measure(parts);
  };
  // The first token is the prompt's work, not this rate's.
  const measure = (tokens) => {
    message.tokens = tokens;
    if (tokens > 1 && last > first) message.rate = (tokens - 1) / seconds(first, last);
  };

  try {
    for await (const { choices, usage } of api.chat(request, signal)) {
      const choice = choices?.[0];
      if (choice?.delta?.reasoning_content) {
        came();
        message.thinking += choice.delta.reasoning_content;
        message.thoughtSeconds = seconds(first, last);
      }
      if (choice?.delta?.content) {
        came();
        message.text += choice.delta.content;
      }
      if (choice?.finish_reason) message.ended = choice.finish_reason;
      if (usage) measure(usage.completion_tokens);
      changed();
    }
    message.ended ||= 'stop';
  } catch (problem) {
    if (problem.name === 'AbortError') {
      message.ended = 'stopped';
    } else {
      message.ended = 'error';
      message.problem = { status: problem.status ?? 0, text: problem.message };
    }
  }
  changed();
}
