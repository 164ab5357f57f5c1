#include "server/sandbox/system_calls.h"

#include <cerrno>

#ifdef HADAL_SECCOMP
#include <sched.h>
#include <seccomp.h>
#endif

namespace hadal {

#ifdef HADAL_SECCOMP

namespace {

// By name, as libseccomp resolves them; what this machine's kernel or library does not know is
// passed over.
constexpr const char* kRefused[] = {
    // other programs and processes
    "execve", "execveat", "fork", "vfork", "ptrace", "process_vm_readv", "process_vm_writev",
    "kcmp", "pidfd_getfd", "pidfd_open", "process_madvise",
    // file systems and namespaces
    "mount", "umount2", "pivot_root", "chroot", "move_mount", "open_tree", "fsopen", "fsmount",
    "fsconfig", "fspick", "mount_setattr", "unshare", "setns", "open_by_handle_at",
    "name_to_handle_at", "quotactl", "quotactl_fd", "swapon", "swapoff", "acct",
    // the kernel itself
    "init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "bpf",
    "perf_event_open", "userfaultfd", "reboot", "syslog", "lookup_dcookie", "ioperm", "iopl",
    "io_uring_setup", "io_uring_enter", "io_uring_register", "personality", "modify_ldt",
    // keys, users, clocks, names
    "add_key", "request_key", "keyctl", "setuid", "setgid", "setreuid", "setregid", "setresuid",
    "setresgid", "setgroups", "setfsuid", "setfsgid", "capset", "settimeofday", "clock_settime",
    "clock_adjtime", "adjtimex", "sethostname", "setdomainname", "vhangup",
    // calling others: this server is called
    "connect"};

bool refuse_all(scmp_filter_ctx filter) {
  for (const char* name : kRefused) {
    const int number = seccomp_syscall_resolve_name(name);
    if (number == __NR_SCMP_ERROR || number < 0) continue;
    if (seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), number, 0) != 0) return false;
  }
  // A thread is fine, a process is not. clone3 hides its flags from the filter: the C library falls
  // back to clone where it is not there.
  const scmp_arg_cmp no_thread{
      .arg = 0, .op = SCMP_CMP_MASKED_EQ, .datum_a = CLONE_THREAD, .datum_b = 0};
  return seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1, &no_thread) ==
             0 &&
         seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0) == 0;
}

}  // namespace

std::string refuse_system_calls() {
  const scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
  if (filter == nullptr) return "seccomp: out of memory";
  std::string problem;
  if (!refuse_all(filter) || seccomp_load(filter) != 0)
    problem = "this kernel takes no seccomp filter";
  seccomp_release(filter);
  return problem;
}

#else

std::string refuse_system_calls() {
  return "this build has no seccomp (libseccomp)";
}

#endif

}  // namespace hadal
