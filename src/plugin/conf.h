/* plugin/conf.h -- the settings of the plugins that are built, and their key tables.
 *
 * A plugin's file puts the table into its ops: `.fields = PLUGIN_FIELDS(tools)`. */
#ifndef SBX_PLUGIN_CONF_H
#define SBX_PLUGIN_CONF_H

#include "plugin/plugin.h"

struct fast_response_conf {
    str message;
    int64_t status_code;                /* extension; VSR always answers 200 */
};

struct system_prompt_conf {
    bool enabled;
    str system_prompt;
    str mode;                           /* replace (default) | insert */
};

struct header_change { str name, value; struct place at; };
struct header_mutation_conf {
    struct header_change *add; size_t n_add;            /* both set the header */
    struct header_change *update; size_t n_update;
    struct strings delete;
};

struct request_params_conf {
    struct strings blocked_params;
    int64_t max_tokens_limit, max_n;    /* 0: no limit */
    bool strip_unknown;
};

struct tools_conf {
    bool enabled;
    str mode;                           /* passthrough (default) | filtered | none */
    bool semantic_selection;            /* not built: tools come from the client only */
    struct strings allow_tools, block_tools;
    bool strip_tool_history;
};

extern const struct field fast_response_keys[], system_prompt_keys[], header_mutation_keys[],
    request_params_keys[], tools_keys[];
enum {                                  /* lines of each; fields.c asserts them */
    fast_response_n_keys = 2, system_prompt_n_keys = 3, header_mutation_n_keys = 3,
    request_params_n_keys = 4, tools_n_keys = 8,
};
#define PLUGIN_FIELDS(name) { name##_keys, name##_n_keys, sizeof(struct name##_conf) }

/* ops->check of each; findings for keys that have no effect or miss their partner. */
void fast_response_check(const struct plugin_use *use, const struct decision_conf *d,
                         struct findings *out);
void system_prompt_check(const struct plugin_use *use, const struct decision_conf *d,
                         struct findings *out);
void header_mutation_check(const struct plugin_use *use, const struct decision_conf *d,
                           struct findings *out);
void tools_check(const struct plugin_use *use, const struct decision_conf *d,
                 struct findings *out);

#endif
