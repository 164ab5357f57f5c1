#include "server/models/model_pool.h"

#include <utility>

namespace hadal {

namespace {

constexpr std::chrono::seconds kIdleCheck{1};

}  // namespace

ModelLease::ModelLease(ModelLease&& other) noexcept
    : pool_(other.pool_), model_(std::exchange(other.model_, nullptr)) {}

ModelLease& ModelLease::operator=(ModelLease&& other) noexcept {
  std::swap(pool_, other.pool_);
  std::swap(model_, other.model_);
  return *this;
}

ModelLease::~ModelLease() {
  if (model_ != nullptr) pool_->give_back(*model_);
}

Status check_model_names(const std::vector<ModelEntry>& models) {
  std::map<std::string_view, const ModelEntry*> known;
  for (const ModelEntry& model : models) {
    const auto [found, added] = known.emplace(model.name, &model);
    if (added) continue;
    const std::string& first = found->second->path;
    if (first == model.path) return fail("{} is given twice", first);
    return fail(
        "{} and {} are both called '{}', and clients could ask for one of them alone. Give one "
        "another file name (a link will do), or serve it by another `hadal serve` with a --port of "
        "its own",
        first, model.path, model.name);
  }
  return {};
}

ModelPool::ModelPool(ModelPoolOptions options) : options_(std::move(options)) {
  for (const ModelEntry& entry : options_.models) {
    Slot& slot = slots_[entry.name];
    slot.entry = entry;
    slot.keep_alive = options_.keep_alive;
  }
  loader_ = std::thread([this] { run(); });
}

ModelPool::~ModelPool() {
  stop_loading();
  for (auto& [name, slot] : slots_) {
    slot.broken.clear();
    slot.model.reset();
  }
}

void ModelPool::stop_loading() {
  {
    std::lock_guard lock(mutex_);
    ending_ = true;
  }
  if (options_.stop) *options_.stop = true;
  changed_.notify_one();
  if (loader_.joinable()) loader_.join();
}

void ModelPool::acquire(const std::string& name, Then then) {
  const std::string& wanted = name.empty() ? options_.default_model : name;
  std::unique_lock lock(mutex_);
  Slot* slot = find_slot(wanted);
  if (slot == nullptr) {
    lock.unlock();
    if (wanted.empty()) return then(refuse(ErrorKind::kInvalid, "the request names no model"));
    return then(refuse(ErrorKind::kNotFound,
                       "this server has no model '{}'; GET /v1/models lists them", wanted));
  }
  if (slot->model && !slot->model->broken()) {
    ++slot->leases;
    slot->last_used = Clock::now();
    ModelLease lease(*this, *slot->model);
    lock.unlock();
    return then(std::move(lease));
  }
  if (waiting_ >= options_.waiting_max || ending_) {
    lock.unlock();
    auto refusal = refuse(ErrorKind::kOverloaded,
                          "the model is being loaded and many wait for it; try again in a moment");
    refusal.value().retry_after_seconds = 5;
    return then(std::move(refusal));
  }
  ++waiting_;
  slot->waiting.push_back(std::move(then));
  if (!std::exchange(slot->loading, true)) to_load_.push_back(slot);
  changed_.notify_one();
}

void ModelPool::preload(std::function<void(bool)> then) {
  {
    std::lock_guard lock(mutex_);
    preloading_ = true;
  }
  acquire("", [this, then = std::move(then)](RequestResult<ModelLease> lease) {
    {
      std::lock_guard lock(mutex_);
      preloading_ = false;
      if (!lease) load_error_ = lease.error().message;
    }
    then(lease.has_value());
  });
}

void ModelPool::set_keep_alive(const std::string& name,
                               std::optional<std::chrono::seconds> keep_alive) {
  std::lock_guard lock(mutex_);
  Slot* const slot = find_slot(name);
  if (slot == nullptr) return;
  slot->unload_next = keep_alive == std::chrono::seconds(0);
  if (!slot->unload_next) slot->keep_alive = keep_alive;
}

bool ModelPool::ready() const {
  std::lock_guard lock(mutex_);
  return !preloading_ && load_error_.empty() && !ending_;
}

std::string ModelPool::load_error() const {
  std::lock_guard lock(mutex_);
  return load_error_;
}

std::vector<ModelStatus> ModelPool::list() const {
  std::lock_guard lock(mutex_);
  std::vector<ModelStatus> result;
  for (const auto& [name, slot] : slots_) result.push_back(status(slot));
  return result;
}

std::optional<ModelStatus> ModelPool::find(const std::string& name) const {
  std::lock_guard lock(mutex_);
  const auto found = slots_.find(name);
  if (found == slots_.end()) return std::nullopt;
  return status(found->second);
}

ModelPool::Slot* ModelPool::find_slot(const std::string& name) {
  const auto found = slots_.find(name);
  return found == slots_.end() ? nullptr : &found->second;
}

ModelStatus ModelPool::status(const Slot& slot) const {
  ModelStatus result{.entry = slot.entry};
  if (slot.model) {
    result.state = ModelState::kLoaded;
    result.answers = slot.model->answers();
    const Engine& engine = slot.model->engine();
    result.context_tokens = engine.info().context_tokens;
    result.weight_bytes = engine.info().weight_bytes;
    result.load_seconds = engine.info().load_seconds;
    result.engine = engine.status();
    if (slot.unload_next) {
      result.unloads_in = std::chrono::seconds(0);
    } else if (slot.keep_alive) {
      const auto unused = slot.leases > 0 ? Clock::duration(0) : Clock::now() - slot.last_used;
      const auto left = std::chrono::duration_cast<std::chrono::seconds>(*slot.keep_alive - unused);
      result.unloads_in = std::max(left, std::chrono::seconds(0));
    }
  } else if (slot.loading) {
    result.state = ModelState::kLoading;
  }
  return result;
}

void ModelPool::give_back(ServedModel& model) {
  std::lock_guard lock(mutex_);
  Slot& slot = slots_.at(model.name());
  --slot.leases;
  slot.last_used = Clock::now();
}

// The loading thread. What is unloaded is destroyed on it, outside the lock: that waits for the
// model's engine thread.
void ModelPool::run() {
  std::unique_lock lock(mutex_);
  while (!ending_) {
    changed_.wait_for(lock, kIdleCheck, [this] { return ending_ || !to_load_.empty(); });
    if (ending_) break;
    if (!to_load_.empty()) {
      Slot& slot = *to_load_.front();
      to_load_.pop_front();
      lock.unlock();
      load(slot);
      lock.lock();
    }
    if (auto idle = take_idle(true)) {
      lock.unlock();
      idle.reset();
      lock.lock();
    }
  }
  std::vector<Then> waiting;
  for (auto& [name, slot] : slots_) {
    for (Then& then : slot.waiting) waiting.push_back(std::move(then));
    slot.waiting.clear();
  }
  lock.unlock();
  for (const Then& then : waiting) then(refuse(ErrorKind::kUnavailable, "the server is ending"));
}

void ModelPool::load(Slot& slot) {
  std::vector<std::unique_ptr<ServedModel>> broken;
  {
    std::lock_guard lock(mutex_);
    if (slot.model) slot.broken.push_back(std::move(slot.model));
    if (slot.leases == 0) broken.swap(slot.broken);
  }
  broken.clear();
  Result<OpenedModel> opened = open_with_room(slot.entry);
  std::unique_ptr<ServedModel> model;
  if (opened) {
    model = std::make_unique<ServedModel>(slot.entry.name, std::move(*opened), options_.answers_max,
                                          options_.watch.get());
  }
  std::vector<Then> waiting;
  {
    std::lock_guard lock(mutex_);
    slot.loading = false;
    waiting.swap(slot.waiting);
    waiting_ -= static_cast<uint32_t>(waiting.size());
    slot.last_used = Clock::now();
    if (model) {
      slot.model = std::move(model);
      slot.leases += static_cast<uint32_t>(waiting.size());
    }
  }
  for (const Then& then : waiting) {
    if (opened) {
      then(ModelLease(*this, *slot.model));
    } else {
      then(refuse(ErrorKind::kUnavailable, "{}", opened.error().message));
    }
  }
}

// What refuses a model for lack of memory may take it when an idle one is gone.
Result<OpenedModel> ModelPool::open_with_room(const ModelEntry& entry) {
  for (;;) {
    Result<OpenedModel> opened = fail("out of memory");
    try {
      opened = options_.open(entry);
    } catch (const std::bad_alloc&) {
      opened = fail("there is not enough memory for {}", entry.name);
    }
    if (opened) return opened;
    std::unique_lock lock(mutex_);
    auto idle = take_idle(false);
    lock.unlock();
    if (!idle) return opened;
  }
}

// The longest unused model that nobody leases; where asked, of those whose time is over.
std::unique_ptr<ServedModel> ModelPool::take_idle(bool expired_only) {
  const auto now = Clock::now();
  Slot* longest = nullptr;
  for (auto& [name, slot] : slots_) {
    if (!slot.model || slot.leases > 0) continue;
    const bool expired =
        slot.unload_next || (slot.keep_alive && now - slot.last_used >= *slot.keep_alive);
    if (expired_only && !expired) continue;
    if (longest == nullptr || slot.last_used < longest->last_used) longest = &slot;
  }
  if (longest == nullptr) return nullptr;
  longest->unload_next = false;
  return std::move(longest->model);
}

}  // namespace hadal
