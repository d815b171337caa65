/* plugin/header_mutation.c -- headers of the upstream request: set and removed, after the credentials. */
#include "pipeline/req.h"
#include "plugin/conf.h"

static void header_set(struct req *r, const struct header_change *h)
{
    *PUSH(r->a, r->out.removed_headers.items, r->out.removed_headers.n) = h->name;
    buf_printf(&r->out.headers, "%.*s: ", (int)h->name.len, h->name.ptr);
    for (size_t i = 0; i < h->value.len; i++)   /* a line break would begin another header */
        buf_char(&r->out.headers, (unsigned char)h->value.ptr[i] < 0x20 ? ' ' : h->value.ptr[i]);
    buf_str(&r->out.headers, S("\r\n"));
}

static int on_send(struct req *r, const void *conf)
{
    const struct header_mutation_conf *c = conf;
    for (size_t i = 0; i < c->n_add; i++)
        header_set(r, &c->add[i]);
    for (size_t i = 0; i < c->n_update; i++)
        header_set(r, &c->update[i]);
    for (size_t i = 0; i < c->delete.n; i++)
        *PUSH(r->a, r->out.removed_headers.items, r->out.removed_headers.n) = c->delete.items[i];
    return PLUGIN_PASS;
}

const struct plugin_ops plugin_header_mutation = {
    .type = "header_mutation", .fields = PLUGIN_FIELDS(header_mutation), .is_built = true,
    .check = header_mutation_check, .on_send = on_send,
};
