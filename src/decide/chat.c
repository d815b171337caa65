/* decide/chat.c */
#include "decide/chat.h"

const char *role_name(enum role role)
{
    static const char *const names[ROLE_N] = {
        "system", "developer", "user", "assistant", "tool", "other",
    };
    return names[role];
}
