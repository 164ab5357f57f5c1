// The system calls that serving never makes, refused by seccomp.
#pragma once

#include <string>

namespace hadal {

// For this thread and those it starts from now on; needs PR_SET_NO_NEW_PRIVS. A refused call fails
// with EPERM. "": done; else why not.
std::string refuse_system_calls();

}  // namespace hadal
