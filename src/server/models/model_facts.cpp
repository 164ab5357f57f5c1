#include "server/models/model_facts.h"

#include "file/describe.h"
#include "model/model.h"
#include "text/tokenizer.h"
#include "text/tool_calls.h"

namespace hadal {

Result<ModelFacts> read_model_facts(const std::string& path) {
  HADAL_TRY(const auto file, ModelFile::open(path, ReadWhat::kHeaderOnly));
  const Metadata& metadata = file->metadata();
  ModelFacts facts;
  facts.format = file->dialect() == Dialect::kGguf ? "gguf" : "safetensors";
  facts.architecture = file->architecture().value_or("");
  facts.licence = metadata.string("general.license").value_or("");
  const ModelSummary summary = summarize(*file);
  facts.parameters = summary.parameters;
  if (!summary.types.empty()) facts.quantization = quant_format(summary.types[0].type).name;
  if (const auto own = model_chat_template(*file)) facts.chat_template = own->value_or("");
  facts.takes_tools = facts.chat_template.find("tools") != std::string::npos &&
                      ToolCallStream(facts.chat_template).looks_for_calls();
  facts.thinks = facts.chat_template.find("</think>") != std::string::npos;
  const auto known = find_architecture(facts.architecture);
  if (!known) return facts;
  const auto config = (*known)->read_config(metadata, file->tensors());
  if (!config) return facts;
  facts.context_tokens = (*config)->context_max;
  facts.width = (*config)->width;
  facts.layers = (*config)->layers;
  facts.vocabulary = (*config)->vocabulary;
  return facts;
}

}  // namespace hadal
