#include "file/model_file.h"
#include "file/text_file.h"
#include "text/tokenizer/tokenizer_readers.h"

namespace hadal {

Result<std::unique_ptr<Tokenizer>> Tokenizer::open(const ModelFile& file) {
  if (file.dialect() == Dialect::kGguf) {
    HADAL_TRY(const VocabularySource source, read_gguf_vocabulary(file.metadata()));
    return make_tokenizer(source);
  }
  HADAL_TRY(const VocabularySource source,
            read_folder_vocabulary([&](std::string_view name) { return file.side_file(name); },
                                   file.path().string()));
  return make_tokenizer(source);
}

Result<std::unique_ptr<Tokenizer>> Tokenizer::open_folder(const std::filesystem::path& folder) {
  const SideFiles files = [&](std::string_view name) {
    return read_text_file(folder / name, ModelFile::kSideFileBytesMax);
  };
  HADAL_TRY(const VocabularySource source, read_folder_vocabulary(files, folder.string()));
  return make_tokenizer(source);
}

}  // namespace hadal
