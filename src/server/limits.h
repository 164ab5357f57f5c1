// What a client may ask for, in one table: everything has a bound, and each bound has a name.
#pragma once

#include <cstddef>
#include <cstdint>

namespace hadal {

// Of connections and requests, before anything is known of what they want.
struct HttpLimits {
  uint32_t connections_max = 12'000;
  size_t header_bytes_max = 32 << 10;     // request line and headers
  uint64_t body_bytes_max = 16 << 20;     // of one request
  uint64_t bodies_bytes_max = 256 << 20;  // of all requests that are being read or prepared
  size_t pipelined_bytes_max = 64 << 10;  // read ahead while an answer is under way
  size_t unread_bytes_max = 1 << 20;      // of a stream that its reader leaves lying; then it ends
  uint32_t idle_seconds = 75;             // of a connection between two requests
  uint32_t header_seconds = 10;           // from the first byte of a request to its last header
  uint32_t body_seconds = 120;            // from there to the body's last byte
  // How long a reader may keep its connection waiting (http/reader_patience.h): a byte now and then
  // does not help it.
  uint32_t write_seconds = 30;
  uint32_t write_bytes_per_second_min = 1024;
  size_t send_buffer_bytes = 128 << 10;  // of a connection, in the system; Linux takes it twice
  // TLS: from the connection to the end of its handshake; and how many may be at that, each with
  // some 100 KiB: the oldest makes room for a newer one.
  uint32_t handshake_seconds = 10;
  uint32_t handshakes_max = 1024;
  uint32_t linger_seconds = 2;        // for the peer to hear why it was refused
  uint32_t heartbeat_seconds = 15;    // of silence in a stream
  uint32_t ending_retry_seconds = 5;  // Retry-After, where the server ends
};

struct JsonTextLimits {
  uint32_t depth_max = 64;
  uint32_t values_max = 1 << 18;  // in the whole text
  uint32_t keys_max = 2048;       // of one object: ordered objects are searched one by one
};

// Of one chat or completion request.
struct ChatLimits {
  uint32_t messages_max = 4096;
  uint32_t tools_max = 128;
  uint32_t choices_max = 16;   // n
  uint32_t prompts_max = 128;  // of a completion
  uint32_t stop_strings_max = 16;
  uint32_t stop_string_bytes_max = 1024;
  uint32_t logit_biases_max = 1024;
  uint32_t top_logprobs_max = 20;
  uint32_t prompt_logprobs_max = 65'536;  // tokens of a completion's prompts, once an answer
  uint32_t model_name_bytes_max = 512;
  // What is sure to have more tokens than so many contexts hold is refused without being tokenized;
  // of shorter ones the refusal says how many there are.
  uint32_t contexts_counted = 4;
};

// Of one request for embeddings.
struct EmbeddingLimits {
  uint32_t inputs_max = 2048;     // texts
  uint32_t tokens_max = 300'000;  // of all texts
  uint32_t values_max = 4 << 20;  // numbers in the answer: texts times the model's width
};

}  // namespace hadal
