/* plugin/fields.c -- keys of the plugins that are built (spec 02 3.1, 3.4 to 3.7). */
#include <assert.h>

#include "base/keys.h"
#include "net/http.h"
#include "plugin/conf.h"

#define COUNTED(name_) static_assert(COUNT_OF(name_##_keys) == name_##_n_keys, "count in conf.h")

const struct field fast_response_keys[] = {
    F(FIELD_STR, struct fast_response_conf, message, "message", NONE, "what is answered"),
    F(FIELD_INT, struct fast_response_conf, status_code, "status_code", "200",
      "HTTP status; VSR always sends 200", BOUNDS(200, 599), .flags = FIELD_EXTENSION),
};
COUNTED(fast_response);

WORDS(prompt_modes, "replace", "insert");
const struct field system_prompt_keys[] = {
    F(FIELD_BOOL, struct system_prompt_conf, enabled, "enabled", "true", "false: do nothing"),
    F(FIELD_STR, struct system_prompt_conf, system_prompt, "system_prompt", NONE, "the text"),
    F(FIELD_ENUM, struct system_prompt_conf, mode, "mode", "replace",
      "replace the first system message, or insert before it", .names = prompt_modes),
};
COUNTED(system_prompt);

TABLE(change, struct header_change,
    F(FIELD_STR, struct header_change, name, "name", NONE, "name of the header",
      .flags = FIELD_REQUIRED),
    F(FIELD_STR, struct header_change, value, "value", NONE, "its value"),
    F(FIELD_VALUE, struct header_change, at, FIELD_KEY_PLACE, NONE, NULL));
static_assert(offsetof(struct header_mutation_conf, n_add) ==
              offsetof(struct header_mutation_conf, add) + sizeof(void *), "a list");
static_assert(offsetof(struct header_mutation_conf, n_update) ==
              offsetof(struct header_mutation_conf, update) + sizeof(void *), "a list");
const struct field header_mutation_keys[] = {
    F(FIELD_LIST, struct header_mutation_conf, add, "add", NONE, "headers to set", .sub = &change),
    F(FIELD_LIST, struct header_mutation_conf, update, "update", NONE, "headers to set",
      .sub = &change),
    F(FIELD_STRINGS, struct header_mutation_conf, delete, "delete", NONE, "headers to remove"),
};
COUNTED(header_mutation);

const struct field request_params_keys[] = {
    F(FIELD_STRINGS, struct request_params_conf, blocked_params, "blocked_params", NONE,
      "members of the request to remove"),
    F(FIELD_INT, struct request_params_conf, max_tokens_limit, "max_tokens_limit", "0",
      "cap on the tokens asked for; 0: none", NOT_NEGATIVE),
    F(FIELD_INT, struct request_params_conf, max_n, "max_n", "0", "cap on n; 0: none",
      NOT_NEGATIVE),
    F(FIELD_BOOL, struct request_params_conf, strip_unknown, "strip_unknown", "false",
      "remove members that are not on VSR's list of 19"),
};
COUNTED(request_params);

WORDS(tool_modes, "passthrough", "filtered", "none");
WORDS(retrievals, "semantic_only", "hybrid_history");
KEYS(retrieval_weights,
    KEY_FLOAT("semantic", NONE, NOT_NEGATIVE, "meaning"),
    KEY_FLOAT("history", NONE, NOT_NEGATIVE, "earlier calls"),
    KEY_FLOAT("decision_prior", NONE, NOT_NEGATIVE, "what this decision uses"),
    KEY_FLOAT("repetition_penalty", NONE, NOT_NEGATIVE, "against repeats"));
KEYS(dynamic_retrieval,
    KEY_BOOL("enabled", "false", "choose tools by the conversation"),
    KEY_ENUM("strategy", NONE, retrievals, "how"),
    KEY_INT("history_window", NONE, NOT_NEGATIVE, "calls looked back"),
    KEY_MAP("weights", retrieval_weights, "of the parts"),
    KEY_FLOAT("min_history_confidence", NONE, SHARE, "below: by meaning only"),
    KEY_BOOL("fallback_on_low_confidence", NONE, "by meaning only when unsure"));
const struct field tools_keys[] = {
    F(FIELD_BOOL, struct tools_conf, enabled, "enabled", "true", "false: do nothing"),
    F(FIELD_ENUM, struct tools_conf, mode, "mode", "passthrough",
      "keep the client's tools, filter them by name, or remove them", .names = tool_modes),
    F(FIELD_BOOL, struct tools_conf, semantic_selection, "semantic_selection", NONE,
      "with tool_choice auto, choose from the tools file by meaning"),
    F(FIELD_STRINGS, struct tools_conf, allow_tools, "allow_tools", NONE, "filtered: only these"),
    F(FIELD_STRINGS, struct tools_conf, block_tools, "block_tools", NONE, "filtered: never these"),
    F(FIELD_BOOL, struct tools_conf, strip_tool_history, "strip_tool_history", "false",
      "none: also remove earlier tool calls and results"),
    KEY_TEXT("strategy", NONE, "read by nothing", .flags = FIELD_IGNORED),
    KEY_MAP("dynamic_retrieval", dynamic_retrieval, "choose tools by the conversation",
            .flags = FIELD_NOT_BUILT),
};
COUNTED(tools);

/* ---- checks across keys ---- */

void fast_response_check(const struct plugin_use *use, const struct decision_conf *d,
                         struct findings *out)
{
    const struct fast_response_conf *c = use->conf;
    (void)d;
    if (c->message.len == 0)
        finding_add(out, "missing-key", SEVERITY_WARNING, use->at, S("plugins.fast_response"),
                    S("say what the caller shall read"), "fast_response answers with an empty text");
}

void system_prompt_check(const struct plugin_use *use, const struct decision_conf *d,
                         struct findings *out)
{
    const struct system_prompt_conf *c = use->conf;
    (void)d;
    if (c->enabled && c->system_prompt.len == 0)
        finding_add(out, "no-effect", SEVERITY_WARNING, use->at, S("plugins.system_prompt"), S(""),
                    "system_prompt has no text, so it does nothing");
}

/* RFC 9110 section 5.6.2: a field name is a token. */
static bool is_header_name(str s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c <= ' ' || c >= 0x7f || strchr("\"(),/:;<=>?@[\\]{}", c))
            return false;
    }
    return s.len > 0;
}

static bool is_header_value(str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] == '\r' || s.ptr[i] == '\n' || s.ptr[i] == 0)
            return false;
    return true;
}

static void changes_check(const struct header_change *changes, size_t n, struct findings *out)
{
    for (size_t i = 0; i < n; i++) {
        if (!is_header_name(changes[i].name))
            finding_add(out, "bad-value", SEVERITY_ERROR, changes[i].at,
                        S("plugins.header_mutation"), S(""),
                        "`" STR_FMT "` cannot be the name of a header", STR_ARG(changes[i].name));
        if (str_ieq(changes[i].name, S("host")) || http_is_hop_by_hop(changes[i].name))
            finding_add(out, "bad-value", SEVERITY_ERROR, changes[i].at,
                        S("plugins.header_mutation"), S(""),
                        "`" STR_FMT "` frames or addresses the request, so a plugin cannot set it",
                        STR_ARG(changes[i].name));
        if (!is_header_value(changes[i].value))
            finding_add(out, "bad-value", SEVERITY_ERROR, changes[i].at,
                        S("plugins.header_mutation"), S(""),
                        "the value of `" STR_FMT "` has a line break", STR_ARG(changes[i].name));
    }
}

void header_mutation_check(const struct plugin_use *use, const struct decision_conf *d,
                           struct findings *out)
{
    const struct header_mutation_conf *c = use->conf;
    (void)d;
    changes_check(c->add, c->n_add, out);
    changes_check(c->update, c->n_update, out);
}

void tools_check(const struct plugin_use *use, const struct decision_conf *d,
                 struct findings *out)
{
    const struct tools_conf *c = use->conf;
    (void)d;
    if ((c->allow_tools.n || c->block_tools.n) && !str_eq(c->mode, S("filtered")))
        finding_add(out, "no-effect", SEVERITY_ERROR, use->at, S("plugins.tools"),
                    S("write mode: filtered"),
                    "allow_tools and block_tools need mode filtered, not " STR_FMT,
                    STR_ARG(c->mode));
    if (c->strip_tool_history && !str_eq(c->mode, S("none")))
        finding_add(out, "no-effect", SEVERITY_ERROR, use->at, S("plugins.tools"),
                    S("write mode: none"), "strip_tool_history needs mode none, not " STR_FMT,
                    STR_ARG(c->mode));
}
