// Chat templates for models whose files carry none: DeepSeek's families, and the two formats most
// others share. The formats are those of the vendors' model cards and tokenizer files; the texts
// are our own.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace hadal {

// What is known of a model, as its file states it; anything may be empty.
struct TemplateEvidence {
  std::string_view architecture;   // general.architecture or model_type: "deepseek2", "qwen2"
  std::string_view name;           // general.name, or the name of the file or folder
  std::string_view pre_tokenizer;  // tokenizer.ggml.pre: "deepseek-llm", "deepseek-v3"
  // Whether the vocabulary has a token of this text; may be null.
  std::function<bool(std::string_view)> has_token;
};

// The source of a template that fits, for ChatTemplate::parse. None: nothing is known that fits (a
// base model).
//
//   DeepSeek R1 and its distills   <｜User｜>q<｜Assistant｜><think>\n
//   DeepSeek V3, V2.5              <｜User｜>q<｜Assistant｜>
//   DeepSeek V3.1                  and <think> or </think>: thinking, enable_thinking
//   DeepSeek V2, Coder V2, LLM     User: q\n\nAssistant:
//   DeepSeek Coder                 ### Instruction:\nq\n### Response:\n
//   a vocabulary with <|im_start|> ChatML
//   a vocabulary with <|eot_id|>   Llama 3
//
// They read bos_token and eos_token; all but ChatML need the first.
std::optional<std::string> builtin_template(const TemplateEvidence& evidence);

}  // namespace hadal
