/* plugin/plugin.h -- what a decision does to a request and its answer: one file and one line in
 * list.h each. The order of list.h is the order of execution (spec 02, section 3.0).
 *
 * A plugin decodes its `configuration` by its own table. Hooks are optional. */
#ifndef SBX_PLUGIN_H
#define SBX_PLUGIN_H

#include "decide/policy.h"

struct req;                             /* pipeline/req.h */

enum { PLUGIN_PASS = 0, PLUGIN_REPLY = 1 };     /* negative: the request fails, r->fail is set */

struct plugin_ops {
    const char *type;                   /* "fast_response" */
    const char *aliases;                /* space separated, or NULL */
    struct fields fields;
    bool is_built;                      /* false: known keys, finding not-built, no effect */
    void (*check)(const struct plugin_use *use, const struct decision_conf *d, struct findings *out);
    int (*on_request)(struct req *r, const void *conf);     /* after the decision; may answer: PLUGIN_REPLY */
    int (*on_send)(struct req *r, const void *conf);        /* edits of the upstream body and headers */
};

extern const struct plugin_ops *const plugin_all[];         /* NULL-terminated, in list.h order */
const struct plugin_ops *plugin_by_type(str type);          /* by type or alias */

#endif
