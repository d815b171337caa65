/* admin/route_spend.c -- GET /api/v1/spend: who spent how much on what, as JSON or CSV.
 *
 * ?group_by=key,team,user,project,model,day  &from=2026-05-01 &to=2026-05-31 (both included)
 * &key= &user= &team= &project= &model= (only those)  &limit=  &format=json|csv */
#include <math.h>
#include <stdio.h>

#include "admin/resources.h"
#include "admin/tenancy.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/put.h"
#include "config/tenancy.h"
#include "net/http.h"
#include "pipeline/budget.h"
#include "store/ledger.h"

enum { ROWS_MAX = 1000000 };

static const struct column { const char *name; unsigned bit; } columns[] = {
    { "day", LEDGER_DAY }, { "key", LEDGER_KEY }, { "user", LEDGER_USER }, { "team", LEDGER_TEAM }, { "project", LEDGER_PROJECT },
    { "model", LEDGER_MODEL },
};
static const char *const numbers[] = { "requests", "prompt_tokens", "cached_tokens", "cache_write_tokens", "completion_tokens",
                                       "reasoning_tokens" };

static bool group_read(struct tenancy_call *c, struct ledger_query *q)
{
    str list = http_query_get(c->query, S("group_by"), c->a);
    while (list.len) {
        str one = str_trim(str_cut(&list, ','));
        size_t i = 0;
        while (i < COUNT_OF(columns) && !str_eq(one, str_of(columns[i].name)))
            i++;
        if (i == COUNT_OF(columns)) {
            tenancy_error(c, 400, "INVALID_INPUT", "group_by: '" STR_FMT "' is none of day, key, user, team, project, model",
                          STR_ARG(str_upto(one, 80)));
            return false;
        }
        q->group_by |= columns[i].bit;
    }
    return true;
}

static bool day_read(struct tenancy_call *c, const char *name, int64_t *day)
{
    int64_t seconds;
    str text = http_query_get(c->query, str_of(name), c->a);
    if (text.len == 0)
        return true;
    if (!date_parse(text, &seconds)) {
        tenancy_error(c, 400, "INVALID_INPUT", "%s: '" STR_FMT "' is no date (2026-05-01)", name, STR_ARG(str_upto(text, 80)));
        return false;
    }
    *day = seconds / 86400;
    return true;
}

static bool query_read(struct tenancy_call *c, struct ledger_query *q)
{
    str limit = http_query_get(c->query, S("limit"), c->a);
    *q = (struct ledger_query){
        .key = http_query_get(c->query, S("key"), c->a), .user = http_query_get(c->query, S("user"), c->a),
        .team = http_query_get(c->query, S("team"), c->a), .project = http_query_get(c->query, S("project"), c->a),
        .model = http_query_get(c->query, S("model"), c->a),
    };
    if (limit.len && (!str_int(limit, &q->limit) || q->limit < 1 || q->limit > ROWS_MAX)) {
        tenancy_error(c, 400, "INVALID_INPUT", "limit: a number from 1 to %d", ROWS_MAX);
        return false;
    }
    return group_read(c, q) && day_read(c, "from", &q->from) && day_read(c, "to", &q->to);
}

struct printing { struct tenancy_call *c; const struct ledger_query *q; struct json_writer w; struct ledger_entry sum; };

static str day_text(int64_t day, char to[32])
{
    clock_iso((uint64_t)day * 86400 * NS_PER_S, to);
    return (str){ to, 10 };
}

static str value_of(const struct ledger_entry *e, unsigned bit, char day[32])
{
    switch (bit) {
    case LEDGER_DAY:  return day_text(e->day, day);
    case LEDGER_KEY:  return e->key;
    case LEDGER_USER: return e->user;
    case LEDGER_TEAM: return e->team;
    case LEDGER_PROJECT: return e->project;
    default:          return e->model;
    }
}

static void numbers_of(const struct ledger_entry *e, int64_t to[COUNT_OF(numbers)])
{
    const int64_t list[] = { e->requests, e->prompt_tokens, e->cached_tokens, e->cache_write_tokens, e->completion_tokens,
                             e->reasoning_tokens };
    memcpy(to, list, sizeof list);
}

static void row_numbers(struct json_writer *w, const struct ledger_entry *e)
{
    int64_t list[COUNT_OF(numbers)];
    numbers_of(e, list);
    for (size_t i = 0; i < COUNT_OF(numbers); i++)
        put_int(w, str_of(numbers[i]), list[i]);
    put_double(w, S("cost_usd"), (double)e->micro_usd / 1e6);
}

static void row_json(void *arg, const struct ledger_entry *e)
{
    struct printing *p = arg;
    char day[32];
    jw_begin(&p->w, '{');
    for (size_t i = 0; i < COUNT_OF(columns); i++)
        if (p->q->group_by & columns[i].bit)
            put_str(&p->w, str_of(columns[i].name), value_of(e, columns[i].bit, day));
    row_numbers(&p->w, e);
    jw_end(&p->w, '}');
    p->sum.requests += e->requests;
    p->sum.prompt_tokens += e->prompt_tokens;
    p->sum.cached_tokens += e->cached_tokens;
    p->sum.cache_write_tokens += e->cache_write_tokens;
    p->sum.completion_tokens += e->completion_tokens;
    p->sum.reasoning_tokens += e->reasoning_tokens;
    p->sum.micro_usd += e->micro_usd;
}

/* RFC 4180; a cell that a spreadsheet would take for a formula gets a quote in front. */
static void cell(struct buf *out, str s)
{
    bool is_formula = s.len && strchr("=+-@\t\r", s.ptr[0]);
    buf_char(out, '"');
    if (is_formula)
        buf_char(out, '\'');
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '"')
            buf_char(out, '"');
        buf_char(out, s.ptr[i]);
    }
    buf_str(out, S("\","));
}

static void row_csv(void *arg, const struct ledger_entry *e)
{
    struct printing *p = arg;
    struct buf *out = p->c->out;
    int64_t list[COUNT_OF(numbers)];
    char day[32];
    for (size_t i = 0; i < COUNT_OF(columns); i++)
        if (p->q->group_by & columns[i].bit)
            cell(out, value_of(e, columns[i].bit, day));
    numbers_of(e, list);
    for (size_t i = 0; i < COUNT_OF(numbers); i++)
        buf_printf(out, "%lld,", (long long)list[i]);
    buf_printf(out, "%lld.%06lld\r\n", (long long)(e->micro_usd / 1000000), (long long)(e->micro_usd % 1000000));
}

static void csv(struct tenancy_call *c, const struct ledger_query *q)
{
    struct printing p = { .c = c, .q = q };
    c->type = S("text/csv; charset=utf-8");
    for (size_t i = 0; i < COUNT_OF(columns); i++)
        if (q->group_by & columns[i].bit)
            buf_printf(c->out, "%s,", columns[i].name);
    for (size_t i = 0; i < COUNT_OF(numbers); i++)
        buf_printf(c->out, "%s,", numbers[i]);
    buf_str(c->out, S("cost_usd\r\n"));
    if (ledger_spend(books(), q, row_csv, &p) < 0)
        tenancy_error(c, 500, "INTERNAL", "the state file could not be read");
}

static void json(struct tenancy_call *c, const struct ledger_query *q)
{
    struct printing p = { .c = c, .q = q, .w = { .out = c->out } };
    char day[32];
    jw_begin(&p.w, '{');
    put_str(&p.w, S("currency"), S("USD"));
    if (q->from)
        put_str(&p.w, S("from"), day_text(q->from, day));
    if (q->to)
        put_str(&p.w, S("to"), day_text(q->to, day));
    put_open(&p.w, S("rows"), '[');
    int rc = ledger_spend(books(), q, row_json, &p);
    jw_end(&p.w, ']');
    put_open(&p.w, S("total"), '{');
    row_numbers(&p.w, &p.sum);
    jw_end(&p.w, '}');
    uint64_t dropped = ledger_dropped(books());
    if (dropped)
        put_int(&p.w, S("requests_not_recorded"), (int64_t)dropped);
    jw_end(&p.w, '}');
    if (rc < 0)
        tenancy_error(c, 500, "INTERNAL", "the state file could not be read");
}

void spend_answer(struct tenancy_call *c)
{
    struct ledger_query q;
    str format = http_query_get(c->query, S("format"), c->a);
    if (!query_read(c, &q))
        return;
    ledger_sync(books());                       /* what has been answered is in the books */
    if (str_eq(format, S("csv")))
        csv(c, &q);
    else if (format.len == 0 || str_eq(format, S("json")))
        json(c, &q);
    else
        tenancy_error(c, 400, "INVALID_INPUT", "format: json or csv");
}

WAITS void admin_spend(struct admin_req *r)
{
    tenancy_serve(r, spend_answer);
}
