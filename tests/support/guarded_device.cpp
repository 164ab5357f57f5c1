#include "support/guarded_device.h"

#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "base/sizes.h"
#include "device/ops.h"
#include "device/reference/reference_device.h"

namespace hadal {
namespace {

constexpr size_t kQueueLengthMax = 1024;  // as a driver's ring: beyond it, asking waits

// Work in order, on another thread, late: what is asked for lies still until a burst is let go.
class LateQueue {
 public:
  explicit LateQueue(const GuardedOptions& options)
      : options_(options), random_(options.seed), worker_([this] { run(); }) {}

  ~LateQueue() {
    finish();
    {
      std::lock_guard lock(mutex_);
      stop_ = true;
    }
    wake_worker_.notify_all();
    worker_.join();
  }

  void push(std::function<void()> work) {
    std::unique_lock lock(mutex_);
    wake_caller_.wait(lock, [this] { return work_.size() < kQueueLengthMax; });
    work_.push_back({std::move(work), options_.delay_us_max ? random_() % options_.delay_us_max : 0,
                     ++pushed_ == options_.fail_at_op});
    // One in eight lets everything before it go.
    if (random_() % 8 == 0 || work_.size() == kQueueLengthMax) release();
  }

  void finish() {
    std::unique_lock lock(mutex_);
    release();
    wake_caller_.wait(lock, [this] { return done_ == pushed_; });
  }

  Status take_status() {
    std::lock_guard lock(mutex_);
    return std::exchange(status_, Status{});
  }

 private:
  struct Work {
    std::function<void()> run;
    uint64_t delay_us;
    bool fails;
  };

  void release() {  // with the mutex held
    released_ = pushed_;
    wake_worker_.notify_all();
  }

  void run() {
    std::unique_lock lock(mutex_);
    for (;;) {
      wake_worker_.wait(lock, [this] { return stop_ || done_ < released_; });
      if (done_ == released_) return;
      Work work = std::move(work_.front());
      work_.pop_front();
      if (work.fails && status_) status_ = fail("guarded: work {} failed, as asked", done_ + 1);
      const bool skip = !status_.has_value();
      lock.unlock();
      if (work.delay_us > 0 && work.delay_us % 4 == 0) {
        std::this_thread::sleep_for(std::chrono::microseconds(work.delay_us));
      }
      if (!skip) work.run();
      work.run = nullptr;
      lock.lock();
      ++done_;
      wake_caller_.notify_all();
    }
  }

  const GuardedOptions options_;
  std::mt19937_64 random_;
  std::mutex mutex_;
  std::condition_variable wake_worker_, wake_caller_;
  std::deque<Work> work_;
  uint64_t pushed_ = 0, released_ = 0, done_ = 0;
  bool stop_ = false;
  Status status_;
  std::thread worker_;  // last: it uses all of the above
};

// Addresses that are taken and can never be read.
class Fence {
 public:
  static Result<Fence> create(size_t bytes) {
    const size_t mapped = round_up(std::max<size_t>(bytes, 1), 4096);
    void* data =
        mmap(nullptr, mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (data == MAP_FAILED) return fail("guarded: no address space for {} bytes", bytes);
    return Fence(static_cast<std::byte*>(data), mapped);
  }
  Fence(Fence&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(other.bytes_) {}
  Fence& operator=(Fence&&) = delete;
  ~Fence() {
    if (data_ != nullptr) munmap(data_, bytes_);
  }
  std::byte* data() const { return data_; }

 private:
  Fence(std::byte* data, size_t bytes) : data_(data), bytes_(bytes) {}
  std::byte* data_;
  size_t bytes_;
};

class GuardedDevice;

class GuardedBuffer final : public Buffer {
 public:
  GuardedBuffer(GuardedDevice& device, Fence fence, std::unique_ptr<Buffer> real)
      : device_(device), fence_(std::move(fence)), real_(std::move(real)) {}
  ~GuardedBuffer() override;
  size_t bytes() const override { return real_->bytes(); }
  Tensor tensor(QuantType type, uint32_t rows, uint32_t columns, size_t offset) override;
  std::byte* address() const { return fence_.data(); }

 private:
  GuardedDevice& device_;
  Fence fence_;
  std::unique_ptr<Buffer> real_;
};

// A weight's copy in the device's memory, and the reference device's view of it.
class GuardedWeight final : public Buffer {
 public:
  GuardedWeight(GuardedDevice& device, Fence fence) : device_(device), fence_(std::move(fence)) {}
  ~GuardedWeight() override;
  size_t bytes() const override { return bytes_; }
  Tensor tensor(QuantType, uint32_t, uint32_t, size_t) override {
    CHECK(!"a weight has no tensors");
    return {};
  }
  Status load(Device& arithmetic, const WeightSource& source);
  const void* address() const { return fence_.data(); }
  const Weight& real() const { return loaded_.view; }

 private:
  GuardedDevice& device_;
  Fence fence_;
  size_t bytes_ = 0;
  std::vector<std::unique_ptr<Buffer>> copies_;
  LoadedWeight loaded_;
};

template <typename T>
std::vector<T> copy_of(std::span<const T> values) {
  return {values.begin(), values.end()};
}

// A layout whose spans are its own.
struct OwnedLayout {
  explicit OwnedLayout(const SequenceLayout& from)
      : positions(copy_of(from.positions)),
        starts(copy_of(from.sequence_starts)),
        tables(copy_of(from.block_tables)),
        blocks_per_sequence_max(from.blocks_per_sequence_max) {}
  SequenceLayout view() const { return {positions, starts, tables, blocks_per_sequence_max}; }
  std::vector<int32_t> positions;
  std::vector<uint32_t> starts, tables;
  uint32_t blocks_per_sequence_max;
};

class GuardedOps final : public Ops {
 public:
  explicit GuardedOps(GuardedDevice& device) : device_(device) {}
  void embed(const EmbedArgs& args) override;
  void rms_norm(const RmsNormArgs& args) override;
  void matmul(const MatmulArgs& args) override;
  void rope(const RopeArgs& args) override;
  void store_kv(const StoreKvArgs& args) override;
  void attention(const AttentionArgs& args) override;
  void latent_attention(const LatentAttentionArgs& args) override;
  void swiglu(const SwigluArgs& args) override;
  void route(const RouteArgs& args) override;
  void experts(const ExpertsArgs& args) override;
  void gather_rows(const GatherRowsArgs& args) override;

 private:
  GuardedDevice& device_;
};

class GuardedDevice final : public Device {
 public:
  explicit GuardedDevice(const GuardedOptions& options)
      : options_(options),
        arithmetic_(make_reference_device({.threads = options.threads})),
        ops_(*this),
        queue_(options) {
    info_ = arithmetic_->info();
    info_.name = "guarded";
    info_.description = "a graphics card's manners, the reference device's arithmetic";
    if (options.memory_bytes != 0) info_.memory_bytes = options.memory_bytes;
    info_.host_memory = false;
  }

  const DeviceInfo& info() const override { return info_; }
  Result<DeviceSpeeds> measure_speeds() override {
    queue_.finish();
    return arithmetic_->measure_speeds();
  }
  bool supports(QuantType type) const override { return arithmetic_->supports(type); }
  Result<std::unique_ptr<Buffer>> allocate(size_t bytes) override;
  Result<LoadedWeight> upload(const WeightSource& source) override;
  Ops& ops() override { return ops_; }
  void copy(const Tensor& from, const Tensor& to) override;
  void read(const Tensor& from, void* host) override;
  void write(const void* host, const Tensor& to) override;
  Status wait() override;

  Ops& arithmetic() { return arithmetic_->ops(); }
  LateQueue& queue() { return queue_; }
  Tensor real(const Tensor& tensor) const;
  Weight real(const Weight& weight) const;
  PagedKv real(const PagedKv& cache) const {
    return {real(cache.keys), real_or_none(cache.values), cache.block_tokens};
  }
  Tensor real_or_none(const Tensor& tensor) const { return tensor ? real(tensor) : Tensor(); }
  HeadMatrices real(HeadMatrices matrices) const {
    matrices.weight = real(matrices.weight);
    return matrices;
  }
  void forget(const GuardedBuffer& buffer);
  void forget(const GuardedWeight& weight);

 private:
  struct Region {
    std::byte* real;
    size_t bytes;
  };
  const GuardedOptions options_;
  std::unique_ptr<Device> arithmetic_;
  DeviceInfo info_;
  GuardedOps ops_;
  uint64_t taken_bytes_ = 0;
  std::map<const std::byte*, Region> buffers_;           // by the address shown outside
  std::map<const void*, const GuardedWeight*> weights_;  // likewise
  LateQueue queue_;
};

// ---- Memory

GuardedBuffer::~GuardedBuffer() {
  device_.queue().finish();  // freed after all work that was asked for before
  device_.forget(*this);
}

Tensor GuardedBuffer::tensor(QuantType type, uint32_t rows, uint32_t columns, size_t offset) {
  Tensor view = real_->tensor(type, rows, columns, offset);  // CHECKs the size
  view.device = &device_;
  view.data = fence_.data() + offset;
  return view;
}

GuardedWeight::~GuardedWeight() {
  device_.queue().finish();
  device_.forget(*this);
}

Status GuardedWeight::load(Device& arithmetic, const WeightSource& source) {
  std::vector<WeightPiece> pieces(source.pieces.begin(), source.pieces.end());
  const auto take = [&](const void* from, size_t bytes) -> Result<const std::byte*> {
    HADAL_TRY(auto copy, arithmetic.allocate(bytes));
    if (bytes > 0) {
      const uint32_t count = static_cast<uint32_t>(bytes);
      CHECK(count == bytes);  // test weights are small
      arithmetic.write(from, copy->tensor(QuantType::kF8_E4M3, 1, count));
    }
    const auto* data = static_cast<const std::byte*>(
        copy->tensor(QuantType::kF8_E4M3, 1, static_cast<uint32_t>(bytes)).data);
    bytes_ += bytes;
    copies_.push_back(std::move(copy));
    return data;
  };
  for (WeightPiece& piece : pieces) {
    HADAL_TRY(const std::byte* data, take(piece.data.data(), piece.data.size()));
    piece.data = {data, piece.data.size()};
    const ScaleGrid& grid = piece.scales;
    if (grid.data == nullptr || grid.rows_per_scale == 0 || grid.columns_per_scale == 0) continue;
    const size_t scales = size_t{piece.experts} * divide_up(piece.rows, grid.rows_per_scale) *
                          divide_up(piece.columns, grid.columns_per_scale);
    HADAL_TRY(const std::byte* copy, take(grid.data, scales * sizeof(float)));
    piece.scales.data = reinterpret_cast<const float*>(copy);
  }
  WeightSource copied = source;
  copied.pieces = pieces;
  HADAL_TRY(loaded_, arithmetic.upload(copied));
  return {};
}

Result<std::unique_ptr<Buffer>> GuardedDevice::allocate(size_t bytes) {
  if (options_.memory_bytes != 0 && bytes > options_.memory_bytes - taken_bytes_) {
    return fail("not enough memory on device guarded: {} bytes wanted, {} bytes left", bytes,
                options_.memory_bytes - taken_bytes_);
  }
  HADAL_TRY(auto buffer, arithmetic_->allocate(bytes));
  HADAL_TRY(auto fence, Fence::create(bytes));
  auto* real = bytes == 0 ? nullptr : buffer->tensor(QuantType::kF8_E4M3, 1, 1).data;
  buffers_[fence.data()] = {static_cast<std::byte*>(real), bytes};
  taken_bytes_ += bytes;
  return std::make_unique<GuardedBuffer>(*this, std::move(fence), std::move(buffer));
}

Result<LoadedWeight> GuardedDevice::upload(const WeightSource& source) {
  HADAL_TRY(auto fence, Fence::create(1));
  auto weight = std::make_unique<GuardedWeight>(*this, std::move(fence));
  HADAL_TRY_VOID(weight->load(*arithmetic_, source));
  if (options_.memory_bytes != 0 && weight->bytes() > options_.memory_bytes - taken_bytes_) {
    return fail("{}: not enough memory on device guarded: {} bytes wanted, {} bytes left",
                source.name, weight->bytes(), options_.memory_bytes - taken_bytes_);
  }
  taken_bytes_ += weight->bytes();
  weights_[weight->address()] = weight.get();
  LoadedWeight loaded;
  loaded.view = weight->real();
  loaded.view.device = this;
  loaded.view.data = weight->address();
  loaded.view.scales = nullptr;
  loaded.memory = std::move(weight);
  return loaded;
}

void GuardedDevice::forget(const GuardedBuffer& buffer) {
  buffers_.erase(buffer.address());
  taken_bytes_ -= buffer.bytes();
}

void GuardedDevice::forget(const GuardedWeight& weight) {
  if (weights_.erase(weight.address()) == 1) taken_bytes_ -= weight.bytes();
}

Tensor GuardedDevice::real(const Tensor& tensor) const {
  CHECK(tensor && tensor.device == this && tensor.row_stride >= tensor.columns);
  const auto* address = static_cast<const std::byte*>(tensor.data);
  auto region = buffers_.upper_bound(address);
  CHECK(region != buffers_.begin());
  --region;
  const size_t offset = static_cast<size_t>(address - region->first);
  const size_t bytes = tensor.rows == 0
                           ? 0
                           : (tensor.rows - 1) * row_bytes(tensor.type, tensor.row_stride) +
                                 row_bytes(tensor.type, tensor.columns);
  CHECK(offset <= region->second.bytes && bytes <= region->second.bytes - offset);
  Tensor view = tensor;
  view.device = arithmetic_.get();
  view.data = region->second.real + offset;
  return view;
}

Weight GuardedDevice::real(const Weight& weight) const {
  if (!weight) return {};
  CHECK(weight.device == this);
  const auto found = weights_.find(weight.data);
  CHECK(found != weights_.end());
  return found->second->real();
}

// ---- The queue

void GuardedDevice::copy(const Tensor& from, const Tensor& to) {
  CHECK(from.type == to.type && from.rows == to.rows && from.columns == to.columns);
  queue_.push([this, from = real(from), to = real(to)] { arithmetic_->copy(from, to); });
}

void GuardedDevice::read(const Tensor& from, void* host) {
  const Tensor view = real(from);
  std::memset(host, 0xff, view.rows * row_bytes(view.type, view.columns));  // if an op failed: NaN
  queue_.push([this, view, host] { arithmetic_->read(view, host); });
  queue_.finish();
}

void GuardedDevice::write(const void* host, const Tensor& to) {
  const Tensor view = real(to);
  const auto* bytes = static_cast<const std::byte*>(host);
  std::vector<std::byte> taken(bytes, bytes + view.rows * row_bytes(view.type, view.columns));
  queue_.push([this, view, taken = std::move(taken)] { arithmetic_->write(taken.data(), view); });
}

Status GuardedDevice::wait() {
  queue_.finish();
  HADAL_TRY_VOID(queue_.take_status());
  return arithmetic_->wait();
}

// ---- Ops: tensors and weights translated and spans copied at the call, the rest later

void GuardedOps::embed(const EmbedArgs& args) {
  device_.queue().push([&arithmetic = device_.arithmetic(), table = device_.real(args.table),
                        tokens = copy_of(args.tokens), out = device_.real(args.out)] {
    arithmetic.embed({table, tokens, out});
  });
}

void GuardedOps::rms_norm(const RmsNormArgs& args) {
  RmsNormArgs real{device_.real(args.in), device_.real(args.gain), args.epsilon,
                   device_.real(args.out)};
  device_.queue().push([&arithmetic = device_.arithmetic(), real] { arithmetic.rms_norm(real); });
}

void GuardedOps::matmul(const MatmulArgs& args) {
  const auto real = [this, &args](uint32_t i) -> Projection {
    const Projection& projection = args.projections[i];
    return {device_.real(projection.weight), device_.real(projection.bias),
            device_.real(projection.out)};
  };
  std::vector<Projection> list;
  for (uint32_t i = 0; i < args.projections.size(); ++i) list.push_back(real(i));
  device_.queue().push([&arithmetic = device_.arithmetic(), in = device_.real(args.in),
                        list = std::move(list), store = args.store] {
    const auto run = [&](const Projections& projections) {
      arithmetic.matmul({in, projections, store});
    };
    if (list.size() == 1) run({list[0]});
    if (list.size() == 2) run({list[0], list[1]});
    if (list.size() == 3) run({list[0], list[1], list[2]});
    if (list.size() == 4) run({list[0], list[1], list[2], list[3]});
  });
}

void GuardedOps::rope(const RopeArgs& args) {
  device_.queue().push(
      [&arithmetic = device_.arithmetic(), x = device_.real(args.x), head_width = args.head_width,
       pairs = args.pairs, positions = copy_of(args.positions),
       frequencies = copy_of(args.frequencies), magnitude = args.magnitude, first = args.first] {
        arithmetic.rope({x, head_width, pairs, positions, frequencies, magnitude, first});
      });
}

void GuardedOps::store_kv(const StoreKvArgs& args) {
  device_.queue().push([&arithmetic = device_.arithmetic(), keys = device_.real(args.keys),
                        values = device_.real_or_none(args.values),
                        cache = device_.real(args.cache), layout = OwnedLayout(args.layout)] {
    arithmetic.store_kv({keys, values, cache, layout.view()});
  });
}

void GuardedOps::attention(const AttentionArgs& args) {
  device_.queue().push([&arithmetic = device_.arithmetic(), query = device_.real(args.query),
                        cache = device_.real(args.cache), layout = OwnedLayout(args.layout),
                        heads = args.heads, kv_heads = args.kv_heads, scale = args.scale,
                        out = device_.real(args.out)] {
    arithmetic.attention({query, cache, layout.view(), heads, kv_heads, scale, out});
  });
}

void GuardedOps::latent_attention(const LatentAttentionArgs& args) {
  device_.queue().push([&arithmetic = device_.arithmetic(), query = device_.real(args.query),
                        cache = device_.real(args.cache), layout = OwnedLayout(args.layout),
                        keys = device_.real(args.keys), values = device_.real(args.values),
                        heads = args.heads, scale = args.scale, out = device_.real(args.out)] {
    arithmetic.latent_attention({query, cache, layout.view(), keys, values, heads, scale, out});
  });
}

void GuardedOps::route(const RouteArgs& args) {
  RouteArgs real = args;
  real.logits = device_.real(args.logits);
  real.bias = device_.real(args.bias);
  real.chosen = device_.real(args.chosen);
  real.weights = device_.real(args.weights);
  device_.queue().push([&arithmetic = device_.arithmetic(), real] { arithmetic.route(real); });
}

void GuardedOps::experts(const ExpertsArgs& args) {
  const ExpertsArgs real{device_.real(args.in),      device_.real(args.chosen),
                         device_.real(args.weights), device_.real(args.gate),
                         device_.real(args.up),      device_.real(args.down),
                         device_.real(args.out)};
  device_.queue().push([&arithmetic = device_.arithmetic(), real] { arithmetic.experts(real); });
}

void GuardedOps::swiglu(const SwigluArgs& args) {
  const SwigluArgs real{device_.real(args.gate), device_.real(args.up), device_.real(args.out)};
  device_.queue().push([&arithmetic = device_.arithmetic(), real] { arithmetic.swiglu(real); });
}

void GuardedOps::gather_rows(const GatherRowsArgs& args) {
  device_.queue().push([&arithmetic = device_.arithmetic(), from = device_.real(args.from),
                        rows = copy_of(args.rows), to = device_.real(args.to)] {
    arithmetic.gather_rows({from, rows, to});
  });
}

}  // namespace

std::unique_ptr<Device> make_guarded_device(const GuardedOptions& options) {
  return std::make_unique<GuardedDevice>(options);
}

}  // namespace hadal
