// The process gives up what serving never needs, for good: whoever found a way in through a request
// or a model file could then start no program, write no file, read no other file, call no other
// machine.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace hadal {

struct SandboxOptions {
  // Files and folders that may still be read, with all that lies in them. The libraries' and the
  // kernel's own (/usr, /etc, /proc, /sys, /dev) always may.
  std::vector<std::filesystem::path> readable;
  // Folders in which files may be made and written, but not removed.
  std::vector<std::filesystem::path> writable;
};

struct Sandbox {
  bool files = false;         // Landlock holds: reads and writes as listed
  bool system_calls = false;  // seccomp holds: no exec, ptrace, mount, connect...
  std::string missing;        // what this kernel or this build lacks, for a person; "": nothing
};

// Holds for this thread and all that it starts from now on: to be called before there are others.
// Open files stay open. What the kernel does not offer is left out and said.
Sandbox enter_sandbox(const SandboxOptions& options);

}  // namespace hadal
